//! Classes that Python sees.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use quote::ToTokens as _;
use syn::{ImplItem, Item, ItemImpl, ItemStruct};

use crate::layers::source_files;

/// Objects that lead nowhere.
const WITHOUT_REFERENCES: [&str; 2] = ["Py < PyString >", "Py < PyTuple >"];

/// Whether a class has a field with an object of Python that may lead back to it.
fn holds_objects(class: &ItemStruct) -> bool {
    let is_class = class.attrs.iter().any(|attribute| attribute.path().is_ident("pyclass"));
    is_class
        && class.fields.iter().any(|field| {
            let kind = field.ty.to_token_stream().to_string();
            let kind = WITHOUT_REFERENCES.iter().fold(kind, |kind, name| kind.replace(name, ""));
            kind.contains("Py <") || kind.contains("Reference")
        })
}

/// The class that an `impl` tells the garbage collector of.
fn traversed(block: &ItemImpl) -> Option<String> {
    let has =
        |item: &ImplItem| matches!(item, ImplItem::Fn(function) if function.sig.ident == "__traverse__");
    block.items.iter().any(has).then(|| block.self_ty.to_token_stream().to_string())
}

#[test]
fn the_garbage_collector_sees_what_classes_hold() {
    let mut files = Vec::new();
    source_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    let mut holding = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("UTF-8");
        for item in syn::parse_file(&text).expect("Rust").items {
            match item {
                Item::Struct(class) if holds_objects(&class) => drop(holding.insert(class.ident.to_string())),
                Item::Impl(block) => seen.extend(traversed(&block)),
                _ => {}
            }
        }
    }
    assert!(holding.len() > 5, "found only {holding:?}");
    let unseen: Vec<_> = holding.difference(&seen).collect();
    assert!(unseen.is_empty(), "write `__traverse__` for {unseen:?}");
}
