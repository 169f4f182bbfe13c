//! Compares the public API of each published crate with its `public-api.txt`, so that no change goes
//! unnoticed: `cargo run -p whereby-api`. `-- --bless` updates the files.

use anyhow::{Context as _, Result, bail, ensure};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::{env, fs};

/// The published packages, the libraries in them, and their folders.
const CRATES: [(&str, &str, &str); 4] = [
    ("whereby-agent", "whereby", "host"),
    ("whereby-authority", "whereby_authority", "host/authority"),
    ("whereby-catalog", "whereby_catalog", "host/catalog"),
    ("whereby-simulator", "whereby_simulator", "host/simulator"),
];

/// Auto traits, which depend on private fields and are not part of the promise.
const UNPROMISED: [&str; 6] = [
    "core::marker::Freeze",
    "core::marker::StructuralPartialEq",
    "core::marker::Unpin",
    "core::marker::UnsafeUnpin",
    "core::panic::unwind_safe::RefUnwindSafe",
    "core::panic::unwind_safe::UnwindSafe",
];

fn main() -> Result<()> {
    let bless = match env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [] => false,
        [flag] if flag == "--bless" => true,
        other => bail!("unexpected arguments {other:?}; the only flag is --bless"),
    };
    let workspace = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).canonicalize()?;
    let mut differences = String::new();
    for (package, library, folder) in CRATES {
        let api = api(&workspace, package, library)?;
        let file = workspace.join(folder).join("public-api.txt");
        if bless {
            fs::write(&file, api)?;
            continue;
        }
        let agreed = fs::read_to_string(&file).with_context(|| format!("{}", file.display()))?;
        let difference = difference(&agreed, &api);
        if !difference.is_empty() {
            differences += &format!("{}:\n{difference}", file.display());
        }
    }
    ensure!(
        differences.is_empty(),
        "the public API has changed; if that is intended, run: cargo run -p whereby-api -- --bless\n\
         {differences}"
    );
    Ok(())
}

/// Returns the public items of a crate, one per line.
fn api(workspace: &Path, package: &str, library: &str) -> Result<String> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let target = env::var_os("CARGO_TARGET_DIR");
    let target = target.map_or_else(|| workspace.join("target"), |own| workspace.join(own));
    let status = Command::new(cargo)
        .current_dir(workspace)
        .env("RUSTDOC", workspace.join("tests/api/rustdoc"))
        .args(["rustdoc", "--quiet", "--locked", "--package", package, "--lib", "--"])
        .args(["-Zunstable-options", "--output-format=json", "--cap-lints=allow"])
        .status()
        .context("cannot run cargo")?;
    ensure!(status.success(), "cannot document {package}");
    let json = target.join(format!("doc/{library}.json"));
    let api = public_api::Builder::from_rustdoc_json(json).omit_blanket_impls(true).build()?;
    let unpromised = |line: &String| {
        line.starts_with("impl") && UNPROMISED.iter().any(|name| line.contains(name))
    };
    Ok(api.items().map(|item| format!("{item}\n")).filter(|line| !unpromised(line)).collect())
}

/// Returns the removed and the added items.
fn difference(agreed: &str, api: &str) -> String {
    let [agreed, api] = [agreed, api].map(|text| text.lines().collect::<BTreeSet<_>>());
    let gone = agreed.difference(&api).map(|line| format!("- {line}\n"));
    let new = api.difference(&agreed).map(|line| format!("+ {line}\n"));
    gone.chain(new).collect()
}
