//! The documentation as MCP resources.

use crate::config::Settings;
use crate::docs;
use rmcp::model::{ReadResourceResult, Resource, ResourceContents};
use whereby_authority::arguments::first_sentence;
use whereby_authority::table::FunctionRule;
use whereby_catalog::Function;

/// The URI of the overview. The page of a function is below it.
const OVERVIEW: &str = "whereby://docs";

const MARKDOWN: &str = "text/markdown";

/// Returns all resources: the overview, and a page for each of these functions.
pub(super) fn list(functions: &[&'static Function]) -> Vec<Resource> {
    let overview = Resource::new(OVERVIEW, "whereby")
        .with_title("Whereby")
        .with_description("The tools, and the errors that they return")
        .with_mime_type(MARKDOWN);
    let functions = functions.iter().map(|function| {
        Resource::new(uri_of(function), function.json)
            .with_title(function.json)
            .with_description(first_sentence(function.docs))
            .with_mime_type(MARKDOWN)
    });
    std::iter::once(overview).chain(functions).collect()
}

/// Returns the contents of a resource, or `None` if there is no resource with this URI.
pub(super) fn read(
    uri: &str,
    functions: &[&'static Function],
    settings: &Settings,
    agent: Option<&str>,
) -> Option<ReadResourceResult> {
    let text = if uri == OVERVIEW {
        overview(functions)
    } else {
        let function = functions.iter().find(|function| uri_of(function) == uri)?;
        let allowed = settings.allowed(agent, &[], function, |_| true);
        docs::markdown_here(function, allowed.as_deref())
    };
    let contents = ResourceContents::text(text, uri).with_mime_type(MARKDOWN);
    Some(ReadResourceResult::new(vec![contents]))
}

/// Returns an overview of the functions, in Markdown.
fn overview(functions: &[&'static Function]) -> String {
    let line = |function: &&Function| {
        let effect = FunctionRule::of(function).effect.as_str();
        format!("- `{}` ({effect}): {}\n", function.json, first_sentence(function.docs))
    };
    format!("# Whereby\n\n{}", functions.iter().map(line).collect::<String>())
}

fn uri_of(function: &Function) -> String {
    format!("{OVERVIEW}/{}", function.json)
}
