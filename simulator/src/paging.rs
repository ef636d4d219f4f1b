//! Pages of a listing: a token says after which place the next one begins.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

const PREFIX: &[u8] = b"page-";

/// The token for the page after this place.
pub(crate) fn write_token(place: u64) -> String {
    URL_SAFE_NO_PAD.encode([PREFIX, place.to_string().as_bytes()].concat())
}

/// The place in a token that was given; none when it never was.
pub(crate) fn read_token(token: &str) -> Option<u64> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    std::str::from_utf8(bytes.strip_prefix(PREFIX)?).ok()?.parse().ok()
}

/// The first `size` of the rows that come after the token's place, and the token of the next page (empty: the last page).
///
/// `rows` are in the order of the listing, each with its place; the token's row itself may be gone by now, so that
/// places are compared and not looked up. `is_after` says whether the first place comes after the second.
pub(crate) fn page<T>(
    rows: impl IntoIterator<Item = (u64, T)>,
    after: Option<u64>,
    size: usize,
    is_after: impl Fn(u64, u64) -> bool,
) -> (Vec<T>, String) {
    let mut rest = rows.into_iter().filter(|(place, _)| after.is_none_or(|after| is_after(*place, after)));
    let page: Vec<(u64, T)> = rest.by_ref().take(size).collect();
    let next = match (page.last(), rest.next()) {
        (Some((place, _)), Some(_)) => write_token(*place),
        _ => String::new(),
    };
    (page.into_iter().map(|(_, row)| row).collect(), next)
}

/// For listings with the oldest first.
pub(crate) fn ascending(place: u64, after: u64) -> bool {
    place > after
}

/// For listings with the newest first.
pub(crate) fn descending(place: u64, after: u64) -> bool {
    place < after
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_end_with_an_empty_token() {
        let rows = || (1..=5_u64).rev().map(|place| (place, place * 10));
        let (first, token) = page(rows(), None, 2, descending);
        assert_eq!(first, [50, 40]);
        let (second, token) = page(rows(), read_token(&token), 3, descending);
        assert_eq!((second, token.as_str()), (vec![30, 20, 10], ""));
        assert_eq!(page(rows(), None, 0, descending), (vec![], String::new()));
        assert_eq!(read_token("nonsense"), None);
    }
}
