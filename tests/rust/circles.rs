//! No files of `src/` import each other in a circle: each can be read, and moved, knowing only those that it names.
//!
//! A name that a module passes on (`pub use`) counts as an import of the file that it comes from.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Ident, Item, ItemMod, ItemUse, Macro, UseTree, Visibility};

use crate::layers::source_files;

/// A module: its names from the crate's root.
type Module = Vec<String>;

/// The module that a file of `src/` is.
fn module_of(source: &Path, file: &Path) -> Module {
    let relative = file.strip_prefix(source).expect("below src/").with_extension("");
    let mut names: Module =
        relative.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
    names.pop_if(|last| matches!(last.as_str(), "mod" | "lib"));
    names
}

/// The paths that a file names in `use` lines, code and calls of macros, and those that it passes on; tests left out.
struct Paths<'a> {
    module: &'a Module,
    /// Modules inside the file around the place that is looked at.
    inside: Vec<String>,
    /// Modules that the file declares.
    children: BTreeSet<String>,
    found: BTreeSet<Module>,
    /// Names that are passed on, with the paths that they stand for.
    passed_on: BTreeMap<String, Module>,
}

impl Paths<'_> {
    /// Notes a path as it is written.
    fn note(&mut self, written: &[String]) {
        self.found.extend(self.resolved(written));
    }

    /// The path from the crate's root, if it leads into the crate.
    fn resolved(&self, written: &[String]) -> Option<Module> {
        let mut here: Module = self.module.iter().chain(&self.inside).cloned().collect();
        let mut rest = written;
        match written.first().map(String::as_str) {
            Some("crate") => {
                here.clear();
                rest = &rest[1..];
            }
            Some("super" | "self") => {
                while let Some(name @ ("super" | "self")) = rest.first().map(String::as_str) {
                    if name == "super" {
                        here.pop();
                    }
                    rest = &rest[1..];
                }
            }
            Some(first) if self.children.contains(first) => {}
            _ => return None,
        }
        here.extend(rest.iter().cloned());
        Some(here)
    }

    fn note_tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(name) if path.is_empty() || colons == 2 => path.push(name.to_string()),
                TokenTree::Punct(mark) if mark.as_char() == ':' && !path.is_empty() => {
                    colons += 1;
                    continue;
                }
                other => {
                    self.note(&std::mem::take(&mut path));
                    match other {
                        TokenTree::Ident(name) => path.push(name.to_string()),
                        TokenTree::Group(group) => self.note_tokens(group.stream()),
                        TokenTree::Punct(_) | TokenTree::Literal(_) => {}
                    }
                }
            }
            colons = 0;
        }
        self.note(&path);
    }
}

/// The paths of a `use` line, each with the name that it gets here.
fn written(tree: &UseTree) -> Vec<(Vec<String>, String)> {
    match tree {
        UseTree::Path(path) => {
            let begin = path.ident.to_string();
            let mut inner = written(&path.tree);
            for (rest, name) in &mut inner {
                rest.insert(0, begin.clone());
                if name == "self" {
                    name.clone_from(&begin);
                }
            }
            inner
        }
        UseTree::Name(name) if name.ident == "self" => vec![(Vec::new(), "self".to_owned())],
        UseTree::Name(name) => vec![(vec![name.ident.to_string()], name.ident.to_string())],
        UseTree::Rename(name) if name.ident == "self" => vec![(Vec::new(), name.rename.to_string())],
        UseTree::Rename(name) => vec![(vec![name.ident.to_string()], name.rename.to_string())],
        UseTree::Glob(_) => vec![(Vec::new(), "*".to_owned())],
        UseTree::Group(group) => group.items.iter().flat_map(written).collect(),
    }
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<Ident>().is_ok_and(|condition| condition == "test")
    })
}

impl<'ast> Visit<'ast> for Paths<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes = match item {
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            Item::Mod(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            _ => return visit::visit_item(self, item),
        };
        if !is_for_tests(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if item.content.is_some() {
            self.inside.push(item.ident.to_string());
            visit::visit_item_mod(self, item);
            self.inside.pop();
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let is_passed_on = !matches!(item.vis, Visibility::Inherited);
        for (path, name) in written(&item.tree) {
            match self.resolved(&path) {
                Some(path) if is_passed_on && self.inside.is_empty() => {
                    self.passed_on.insert(name, path);
                }
                path => self.found.extend(path),
            }
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let written: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.note(&written);
        visit::visit_path(self, path);
    }

    /// `pub(super)` says who may name an item; it imports nothing.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}

    fn visit_macro(&mut self, call: &'ast Macro) {
        self.note_tokens(call.tokens.clone());
        visit::visit_macro(self, call);
    }
}

/// What each file of `source` imports of the others.
fn imports(source: &Path) -> BTreeMap<Module, BTreeSet<Module>> {
    let mut files: Vec<PathBuf> = Vec::new();
    source_files(source, &mut files);
    let is_of_tests = |name: &OsStr| name == "tests" || name == "tests.rs";
    files.retain(|file| !file.iter().any(is_of_tests));
    let mut imports = BTreeMap::new();
    let mut passed_on = BTreeMap::new();
    for file in files {
        let module = module_of(source, &file);
        let text = fs::read_to_string(&file).expect("UTF-8");
        let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let children = parsed.items.iter().filter_map(|item| match item {
            Item::Mod(item) if item.content.is_none() => Some(item.ident.to_string()),
            _ => None,
        });
        let mut paths = Paths {
            module: &module,
            inside: Vec::new(),
            children: children.collect(),
            found: BTreeSet::new(),
            passed_on: BTreeMap::new(),
        };
        paths.visit_file(&parsed);
        let (found, its_names) = (paths.found, paths.passed_on);
        passed_on.insert(module.clone(), its_names);
        imports.insert(module, found);
    }
    let modules: BTreeSet<Module> = imports.keys().cloned().collect();
    for (module, paths) in &mut imports {
        let targets = std::mem::take(paths).into_iter().filter_map(|path| home(&modules, &passed_on, path));
        *paths = targets.filter(|target| target != module && !target.is_empty()).collect();
    }
    imports
}

/// The file that `path` leads to, through names that are passed on.
fn home(
    modules: &BTreeSet<Module>,
    passed_on: &BTreeMap<Module, BTreeMap<String, Module>>,
    path: Module,
) -> Option<Module> {
    let length = (0..=path.len()).rev().find(|length| modules.contains(&path[..*length]))?;
    let (file, names) = path.split_at(length);
    match names.first().and_then(|name| passed_on[file].get(name)) {
        Some(target) => home(modules, passed_on, target.clone()),
        None => Some(file.to_vec()),
    }
}

/// The modules that can be reached from `begin` by imports.
fn reached<'a>(imports: &'a BTreeMap<Module, BTreeSet<Module>>, begin: &'a Module) -> BTreeSet<&'a Module> {
    let mut reached = BTreeSet::new();
    let mut ahead: Vec<_> = imports[begin].iter().collect();
    while let Some(module) = ahead.pop() {
        if reached.insert(module) {
            ahead.extend(&imports[module]);
        }
    }
    reached
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let imports = imports(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let reached: BTreeMap<_, _> =
        imports.keys().map(|module| (module, self::reached(&imports, module))).collect();
    let mut circles = Vec::new();
    for (module, targets) in &imports {
        let back: Vec<_> = targets.iter().filter(|target| reached[target].contains(module)).collect();
        if !back.is_empty() {
            let back: Vec<_> = back.into_iter().map(|target| target.join("::")).collect();
            circles.push(format!("{} -> {}", module.join("::"), back.join(", ")));
        }
    }
    assert!(circles.is_empty(), "imports in a circle:\n{}", circles.join("\n"));
}
