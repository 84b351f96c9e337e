//! The currency printed next to an amount.

use super::text::{Token, fold, tokens};

/// ISO 4217 code of the currency a text names by symbol, abbreviation or code; `None` when it names none or two.
///
/// Signs that several countries share are read as the one met most often on receipts: `$` alone is `USD`, `¥` `JPY`,
/// `£` `GBP`, `Rs` `INR`. A prefix tells dollars apart (`S$`, `AU$`, `HK$`, `R$` …).
pub fn currency(text: &str) -> Option<&'static str> {
    let folded = fold(text);
    let mut found = None;
    for code in codes(&tokens(&folded)) {
        if found.is_some_and(|before| before != code) {
            return None;
        }
        found = Some(code);
    }
    found
}

fn codes(tokens: &[Token<'_>]) -> Vec<&'static str> {
    let mut codes = Vec::new();
    let mut before: Option<&str> = None;
    for token in tokens {
        match token {
            Token::Mark('$') => codes.push(before.and_then(dollar).unwrap_or("USD")),
            Token::Mark(c) => codes.extend(sign(*c)),
            Token::Word(word) => codes.extend(name(word)),
            Token::Number(_) | Token::Space => {}
        }
        before = if let Token::Word(word) = token { Some(word) } else { None };
    }
    codes
}

/// Whether a word stands for a currency, alone or in front of `$`.
pub(super) fn is_name(word: &str) -> bool {
    name(word).or_else(|| dollar(word)).is_some()
}

fn dollar(prefix: &str) -> Option<&'static str> {
    Some(match prefix.to_ascii_uppercase().as_str() {
        "US" => "USD",
        "A" | "AU" => "AUD",
        "C" | "CA" => "CAD",
        "NZ" => "NZD",
        "HK" => "HKD",
        "S" => "SGD",
        "NT" => "TWD",
        "R" => "BRL",
        "MX" => "MXN",
        _ => return None,
    })
}

/// Whether a character is a currency sign.
pub(super) fn is_sign(c: char) -> bool {
    c == '$' || sign(c).is_some()
}

fn sign(c: char) -> Option<&'static str> {
    Some(match c {
        '€' => "EUR",
        '£' => "GBP",
        '¥' => "JPY",
        '₹' => "INR",
        '₩' => "KRW",
        '฿' => "THB",
        '₫' => "VND",
        '₱' => "PHP",
        '₺' => "TRY",
        '₽' => "RUB",
        '₴' => "UAH",
        '₪' => "ILS",
        _ => return None,
    })
}

/// Codes a receipt may print in full; ones that are also common words (`ALL`, `TOP`, `CUP`) are left out.
const CODES: [&str; 34] = [
    "USD", "EUR", "GBP", "JPY", "CNY", "MYR", "IDR", "SGD", "AUD", "CAD", "NZD", "HKD", "TWD", "INR", "KRW",
    "THB", "VND", "PHP", "CHF", "SEK", "NOK", "DKK", "PLN", "CZK", "HUF", "RON", "RUB", "UAH", "BRL", "MXN",
    "ZAR", "AED", "SAR", "ILS",
];

fn name(word: &str) -> Option<&'static str> {
    let upper = word.to_uppercase();
    Some(match upper.as_str() {
        "RM" => "MYR",
        "RP" => "IDR",
        "RS" => "INR",
        "EURO" | "EUROS" => "EUR",
        "ZŁ" => "PLN",
        "KČ" => "CZK",
        "FT" => "HUF",
        "円" => "JPY",
        "元" => "CNY",
        code => return CODES.into_iter().find(|known| *known == code),
    })
}

#[cfg(test)]
mod tests {
    use super::currency;

    #[test]
    fn signs_abbreviations_and_codes_are_known_wherever_they_stand() {
        let cases = [
            ("$1.00", "USD"),
            ("1.00$", "USD"),
            ("TOTAL$ 3", "USD"),
            ("US$ 4", "USD"),
            ("AU$77.43", "AUD"),
            ("S$5", "SGD"),
            ("15,20EUR", "EUR"),
            ("Eur129,75", "EUR"),
            ("€ 5,-", "EUR"),
            ("RM12.00", "MYR"),
            ("Rp. 35.000", "IDR"),
            ("-Rp 34,363", "IDR"),
            ("GBP6.40", "GBP"),
            ("￥1200", "JPY"),
            ("12 zł", "PLN"),
            ("$3.21 $3.21", "USD"),
        ];
        for (text, code) in cases {
            assert_eq!(currency(text), Some(code), "{text}");
        }
    }

    #[test]
    fn no_or_two_currencies_are_none() {
        for text in ["", "12.00", "TOTAL 12", "$1 €2", "FORM 3", "ALL 4"] {
            assert_eq!(currency(text), None, "{text}");
        }
    }
}
