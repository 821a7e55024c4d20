// Loaded before anything is painted, so that a person who chose a theme never sees the other one.
"use strict";
{
  const chosen = localStorage.getItem("backstop.theme");
  if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
}
