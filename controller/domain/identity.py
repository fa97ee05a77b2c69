"""Names of the things that are scaled."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class DeploymentId:
    """One Ray Serve deployment inside one application."""

    application: str
    deployment: str

    def __str__(self) -> str:
        return f"{self.application}/{self.deployment}"

    @classmethod
    def parse(cls, text: str) -> DeploymentId:
        """Read ``application/deployment``.

        Raises:
            ValueError: there is no ``/``, or one side of it is empty.

        """
        application, slash, deployment = text.partition("/")
        if not (slash and application and deployment):
            msg = f"{text!r} does not name a deployment; expected APPLICATION/DEPLOYMENT"
            raise ValueError(msg)
        return cls(application, deployment)
