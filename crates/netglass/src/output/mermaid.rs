//! A flowchart of Mermaid, which many web pages and editors draw.

use std::{
    fmt::Write as _,
    io::{self, Write},
};

use super::diagram::{Box, draw};
use crate::tree::Tree;

/// Writes the answer as a flowchart, from clients to servers.
pub(crate) fn render(tree: &Tree<'_>, out: &mut impl Write) -> io::Result<()> {
    let diagram = draw(tree);
    writeln!(out, "flowchart LR")?;
    for (index, (host, boxes)) in diagram.clusters.iter().enumerate() {
        let Some(host) = host else {
            write_boxes(boxes, "  ", out)?;
            continue;
        };
        writeln!(out, "  subgraph h{index}[\"{}\"]", escape(host))?;
        write_boxes(boxes, "    ", out)?;
        writeln!(out, "  end")?;
    }
    for arrow in &diagram.arrows {
        writeln!(out, "  n{} -->|\"{}\"| n{}", arrow.from, escape(&arrow.label), arrow.to)?;
    }
    let roots: Vec<String> = diagram
        .clusters
        .iter()
        .flat_map(|(_, boxes)| boxes)
        .filter(|shown| shown.is_root)
        .map(|shown| format!("n{}", shown.id))
        .collect();
    if !roots.is_empty() {
        writeln!(out, "  classDef root stroke-width:3px")?;
        writeln!(out, "  class {} root", roots.join(","))?;
    }
    Ok(())
}

fn write_boxes(boxes: &[Box], indent: &str, out: &mut impl Write) -> io::Result<()> {
    for shown in boxes {
        let lines: Vec<String> = shown.label.iter().map(|line| escape(line)).collect();
        writeln!(out, "{indent}n{}[\"{}\"]", shown.id, lines.join("<br/>"))?;
    }
    Ok(())
}

/// Everything that could mean something to Mermaid, Markdown or HTML, as the character codes that
/// Mermaid has for it.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_alphanumeric() || " .:/-=,×()".contains(character) {
            escaped.push(character);
        } else {
            // Writing to a String cannot fail.
            let _ = write!(escaped, "#{};", u32::from(character));
        }
    }
    escaped
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
    fn hosts_are_subgraphs_where_there_are_several() {
        insta::assert_snapshot!(text(Edges::two_hosts()));
    }

    /// The text with every quoted string made empty.
    fn outside_quotes(text: &str) -> String {
        text.split('"').step_by(2).collect()
    }

    proptest! {
        #[test]
        fn no_name_gets_out_of_its_quotes(comm in any::<String>()) {
            let (any, plain) = (text(named_edge(&comm)), text(named_edge("plain")));
            prop_assert_eq!(outside_quotes(&any), outside_quotes(&plain));
            prop_assert_eq!(any.lines().count(), plain.lines().count());
            prop_assert!(!escape(&comm).contains(['"', '<', '>', '&', '[', ']', '`', '|']));
        }
    }
}
