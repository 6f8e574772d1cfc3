"""Our own themes: one dark, one light, and one for eyes that do not tell red from green.

The colour-blind-safe one uses blue for good, orange for attention and a pale magenta for bad, of the
palette of Okabe and Ito (https://jfly.uni-koeln.de/color/), which all common forms of colour blindness
tell apart.
"""

from textual.theme import Theme

__all__ = ["DARK", "LIGHT", "SAFE", "THEMES"]

DARK = Theme(
    name="choline-dark",
    primary="#5fb3d9",
    secondary="#7f9fb8",
    accent="#6cc7c1",
    success="#7ec98f",
    warning="#e5b566",
    error="#ee7b7b",
    foreground="#d7dee6",
    background="#11161c",
    surface="#171d25",
    panel="#1f2731",
    dark=True,
    variables={
        "block-cursor-background": "#1f4358",
        "block-cursor-foreground": "#ffffff",
        "block-cursor-text-style": "bold",
        "footer-background": "#1f2731",
        "footer-foreground": "#aab6c2",
        "footer-key-foreground": "#6cc7c1",
        "border": "#3c6f8a",
        "border-blurred": "#2b3642",
        "scrollbar": "#33414f",
        "scrollbar-background": "#171d25",
    },
)
LIGHT = Theme(
    name="choline-light",
    primary="#0b6a94",
    secondary="#4d6376",
    accent="#0b7a75",
    success="#1c7c3a",
    warning="#9a5b00",
    error="#b3261e",
    foreground="#1c2530",
    background="#fbfaf7",
    surface="#f3f1ec",
    panel="#e6e3dc",
    dark=False,
    variables={
        "block-cursor-background": "#cde2ee",
        "block-cursor-foreground": "#0d2b3a",
        "block-cursor-text-style": "bold",
        "footer-background": "#e6e3dc",
        "footer-foreground": "#3f4b57",
        "footer-key-foreground": "#0b6a94",
        "border": "#5c94ad",
        "border-blurred": "#cbc7bd",
        "scrollbar": "#c3beb3",
        "scrollbar-background": "#efece6",
    },
)
SAFE = Theme(
    name="choline-safe",
    primary="#56b4e9",
    secondary="#9aa7b4",
    accent="#56b4e9",
    success="#56b4e9",
    warning="#e69f00",
    error="#f0a3cf",
    foreground="#f2f2f2",
    background="#0b0d10",
    surface="#13171c",
    panel="#1d232b",
    dark=True,
    variables={
        "block-cursor-background": "#0f4468",
        "block-cursor-foreground": "#ffffff",
        "block-cursor-text-style": "bold",
        "footer-background": "#1d232b",
        "footer-foreground": "#d0d0d0",
        "footer-key-foreground": "#f0e442",
        "border": "#56b4e9",
        "border-blurred": "#3a434d",
        "scrollbar": "#4a5561",
        "scrollbar-background": "#13171c",
    },
)
THEMES = (DARK, LIGHT, SAFE)
