//! The documentation as resources.

use crate::docs;
use rmcp::model::{ReadResourceResult, Resource, ResourceContents};
use whereby_authority::arguments::first_sentence;
use whereby_catalog::Function;

/// The address of the overview; a function's own is below it.
const OVERVIEW: &str = "whereby://docs";

const MARKDOWN: &str = "text/markdown";

/// Every resource: the overview, and the pages of these functions.
pub(super) fn list(functions: &[&'static Function]) -> Vec<Resource> {
    let overview = Resource::new(OVERVIEW, "whereby")
        .with_title("Whereby")
        .with_description("What the tools do, and how they fail")
        .with_mime_type(MARKDOWN);
    let functions = functions.iter().map(|function| {
        Resource::new(address(function), function.json)
            .with_title(function.json)
            .with_description(first_sentence(function.docs))
            .with_mime_type(MARKDOWN)
    });
    std::iter::once(overview).chain(functions).collect()
}

/// The contents of a resource; `None` where there is none of that address.
pub(super) fn read(uri: &str, functions: &[&'static Function]) -> Option<ReadResourceResult> {
    let text = if uri == OVERVIEW {
        docs::overview_of(functions.iter().copied())
    } else {
        docs::markdown(functions.iter().find(|function| address(function) == uri)?)
    };
    let contents = ResourceContents::text(text, uri).with_mime_type(MARKDOWN);
    Some(ReadResourceResult::new(vec![contents]))
}

fn address(function: &Function) -> String {
    format!("{OVERVIEW}/{}", function.json)
}
