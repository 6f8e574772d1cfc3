"""Countries in which machines are offered, by the code the market writes at the end of a place.

The codes are ISO 3166-1 alpha-2; the names are the common English ones.
"""

__all__ = ["COUNTRIES", "country_codes"]

COUNTRIES: dict[str, str] = {
    "AE": "United Arab Emirates", "AR": "Argentina", "AT": "Austria", "AU": "Australia", "BE": "Belgium",
    "BG": "Bulgaria", "BR": "Brazil", "BY": "Belarus", "CA": "Canada", "CH": "Switzerland", "CL": "Chile",
    "CN": "China", "CO": "Colombia", "CY": "Cyprus", "CZ": "Czechia", "DE": "Germany", "DK": "Denmark",
    "EE": "Estonia", "ES": "Spain", "FI": "Finland", "FR": "France", "GB": "United Kingdom", "GE": "Georgia",
    "GR": "Greece", "HK": "Hong Kong", "HR": "Croatia", "HU": "Hungary", "ID": "Indonesia", "IE": "Ireland",
    "IL": "Israel", "IN": "India", "IS": "Iceland", "IT": "Italy", "JP": "Japan", "KR": "South Korea",
    "KZ": "Kazakhstan", "LT": "Lithuania", "LU": "Luxembourg", "LV": "Latvia", "MA": "Morocco",
    "MD": "Moldova", "MT": "Malta", "MX": "Mexico", "MY": "Malaysia", "NL": "Netherlands", "NO": "Norway",
    "NZ": "New Zealand", "OM": "Oman", "PE": "Peru", "PH": "Philippines", "PL": "Poland", "PT": "Portugal",
    "QA": "Qatar", "RO": "Romania", "RS": "Serbia", "RU": "Russia", "SA": "Saudi Arabia", "SE": "Sweden",
    "SG": "Singapore", "SI": "Slovenia", "SK": "Slovakia", "TH": "Thailand", "TR": "Turkey", "TW": "Taiwan",
    "UA": "Ukraine", "US": "United States", "UY": "Uruguay", "UZ": "Uzbekistan", "VN": "Vietnam",
    "ZA": "South Africa",
}  # fmt: skip

_MORE = {
    "usa": "US",
    "america": "US",
    "uk": "GB",
    "england": "GB",
    "britain": "GB",
    "korea": "KR",
    "holland": "NL",
}


def country_codes(word: str) -> tuple[str, ...]:
    """Codes of the countries a word may mean: a code, another name, or a beginning (3 letters or more) of a
    name's words; () for none."""
    key = word.strip().lower()
    if key.upper() in COUNTRIES:
        return (key.upper(),)
    if key in _MORE:
        return (_MORE[key],)
    if len(key) < 3:
        return ()
    return tuple(
        code
        for code, name in COUNTRIES.items()
        if name.lower().startswith(key) or any(part.startswith(key) for part in name.lower().split())
    )
