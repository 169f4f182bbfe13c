//! The icon that clients show for the server.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rmcp::model::Icon;
use std::sync::LazyLock;

/// A PNG file, the format that every client with icons can show. Each handshake carries it.
const PNG: &[u8] = include_bytes!("icon.png");

/// The file as a URI, so that showing it sends no request to anyone.
static URI: LazyLock<String> =
    LazyLock::new(|| format!("data:image/png;base64,{}", STANDARD.encode(PNG)));

/// Returns the server's icon.
pub(super) fn server() -> Icon {
    Icon::new(URI.as_str()).with_mime_type("image/png").with_sizes(vec!["48x48".into()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_icon_is_a_small_image_of_the_size_that_it_says() {
        assert!(PNG.starts_with(b"\x89PNG\r\n\x1a\n") && PNG.len() < 1024, "{}", PNG.len());
        // The width and the height are in the header of the file.
        assert_eq!(PNG[16..24], [0, 0, 0, 48, 0, 0, 0, 48]);
        assert_eq!(server().sizes, Some(vec!["48x48".to_owned()]));
    }
}
