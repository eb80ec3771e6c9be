//! A graph in the language of Graphviz.

use std::io::{self, Write};

use super::diagram::{Box, draw};
use crate::tree::Tree;

/// Writes the answer as a directed graph, from clients to servers.
pub(crate) fn render(tree: &Tree<'_>, out: &mut impl Write) -> io::Result<()> {
    let diagram = draw(tree);
    writeln!(out, "digraph netglass {{")?;
    writeln!(out, "  rankdir=LR;")?;
    writeln!(out, "  node [shape=box];")?;
    for (index, (host, boxes)) in diagram.clusters.iter().enumerate() {
        let Some(host) = host else {
            write_boxes(boxes, "  ", out)?;
            continue;
        };
        writeln!(out, "  subgraph cluster_{index} {{")?;
        writeln!(out, "    label={};", quote(host))?;
        write_boxes(boxes, "    ", out)?;
        writeln!(out, "  }}")?;
    }
    for arrow in &diagram.arrows {
        writeln!(out, "  n{} -> n{} [label={}];", arrow.from, arrow.to, quote(&arrow.label))?;
    }
    writeln!(out, "}}")
}

fn write_boxes(boxes: &[Box], indent: &str, out: &mut impl Write) -> io::Result<()> {
    for shown in boxes {
        let lines: Vec<String> = shown.label.iter().map(|line| escape(line)).collect();
        let style = if shown.is_root { ", style=bold" } else { "" };
        writeln!(out, "{indent}n{} [label=\"{}\"{style}];", shown.id, lines.join("\\n"))?;
    }
    Ok(())
}

fn quote(text: &str) -> String {
    format!("\"{}\"", escape(text))
}

/// What may stand between double quotes, where a backslash begins an escape. `&` begins an HTML
/// entity in a label.
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('&', "&amp;")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixtures::{Edges, named_edge, tree_of_everything};

    fn text(edges: Edges) -> String {
        let dependencies = edges.dependencies();
        let mut out = Vec::new();
        render(&tree_of_everything(&dependencies), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn processes_are_boxes_and_dependencies_are_arrows() {
        insta::assert_snapshot!(text(Edges::web()));
    }

    #[test]
    fn hosts_are_clusters_where_there_are_several() {
        insta::assert_snapshot!(text(Edges::two_hosts()));
    }

    /// The text without its quoted strings, if every one of them ends.
    fn outside_quotes(text: &str) -> Option<String> {
        let (mut outside, mut quoted) = (String::new(), false);
        let mut rest = text.chars();
        while let Some(character) = rest.next() {
            match character {
                '\\' if quoted => {
                    rest.next()?;
                }
                '"' => quoted = !quoted,
                other if !quoted => outside.push(other),
                _ => {}
            }
        }
        (!quoted).then_some(outside)
    }

    proptest! {
        #[test]
        fn no_name_gets_out_of_its_quotes(comm in any::<String>()) {
            let (any, plain) = (text(named_edge(&comm)), text(named_edge("plain")));
            prop_assert_eq!(outside_quotes(&any), outside_quotes(&plain));
            prop_assert_eq!(any.lines().count(), plain.lines().count());
        }
    }
}
