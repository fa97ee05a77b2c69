"""Deployments as they are named in requests."""

from __future__ import annotations

from fastapi import HTTPException

from controller.domain.identity import DeploymentId


def deployment_of(text: str | None) -> DeploymentId | None:
    """Read ``APPLICATION/DEPLOYMENT``, None for all of them. Raises HTTPException 422."""
    if text is None:
        return None
    try:
        return DeploymentId.parse(text)
    except ValueError as error:
        raise HTTPException(422, str(error)) from None
