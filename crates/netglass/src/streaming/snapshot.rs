//! The processes and their open sockets, once.

mod filter;
mod json;
mod text;
mod tree;

use std::io::{BufWriter, Write as _};

use anyhow::Context as _;
use netglass_kernel::{Inventory, InventoryOptions, Needs};

use self::{filter::Filter, tree::Tree};
use super::{
    arguments::{Format, SelectionArguments, WritingArguments},
    output::Target,
};
use crate::{
    probing::{drop_privileges, tell},
    usage::UsageError,
    users::UserNames,
};

/// Shows which sockets the selected processes have open.
pub(crate) fn show(
    selection: &SelectionArguments,
    writing: &WritingArguments,
) -> anyhow::Result<()> {
    let format = writing.format;
    if !matches!(format, Format::Table | Format::Json) {
        let reason = "a snapshot is a tree: --snapshot takes --format table or json";
        return Err(UsageError(reason.to_owned()).into());
    }
    let selection = selection.selection()?;
    let Target { out, is_colored, .. } = Target::open(writing)?;
    let needs = Needs { processes: true, all_namespaces: true, ..Needs::default() };
    tell(drop_privileges(needs, || true, || true).as_slice());
    let options = InventoryOptions {
        families: selection.families.clone(),
        namespaces: selection.namespaces.clone(),
    };
    let mut inventory = Inventory::take(&options).context("looking at processes and sockets")?;
    let degradations: Vec<_> = inventory.degradations.iter().map(ToString::to_string).collect();
    tell(&degradations);
    let selected = Filter::new(&selection).select(&mut inventory);
    let names = UserNames::read();
    let tree = Tree::new(&inventory, &selected);
    let mut out = BufWriter::new(out);
    let written = match (format, is_colored) {
        (Format::Json, _) => json::write(&tree, &names, &mut out),
        (_, true) => text::write(&tree, &names, &mut out),
        (_, false) => {
            let mut plain = Vec::new();
            let mut stripped = anstream::StripStream::new(&mut plain);
            text::write(&tree, &names, &mut stripped).and_then(|()| out.write_all(&plain))
        }
    };
    written.and_then(|()| out.flush()).context("writing the snapshot")
}
