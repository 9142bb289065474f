"""Each module wraps one outside thing and translates its errors."""
