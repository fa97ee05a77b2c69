"use strict";
// Before the first paint: the theme that was chosen here before.
try {
  const theme = localStorage.getItem("foreserve-theme");
  if (theme) document.documentElement.dataset.theme = theme;
} catch {
  // Storage is switched off: the system's theme it is.
}
