//! A link in a page leads to a file that is there, and to a heading that is there.

use super::{
    Finding,
    tree::{Tree, follow},
};

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.ending_in(".md") {
        for (line, target) in links(&file.text) {
            let (path, anchor) = target.split_once('#').map_or((target, None), |(path, anchor)| (path, Some(anchor)));
            // One that climbs above the root is found by another rule.
            let Some(path) = (if path.is_empty() { Some(file.path.clone()) } else { follow(file.folder(), path) })
            else {
                continue;
            };
            if !tree.has(&path) {
                findings.push(Finding::new(&file.path, line, format!("`{target}` leads to nothing")));
                continue;
            }
            let page = tree.file(&path).filter(|page| page.path.ends_with(".md"));
            if let (Some(anchor), Some(page)) = (anchor, page)
                && !anchors(&page.text).any(|known| known == anchor)
            {
                findings.push(Finding::new(&file.path, line, format!("`{target}`: no such heading")));
            }
        }
    }
    findings
}

/// The relative targets of a page's links, with their lines; those in code are no links.
pub(super) fn links(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for (number, line) in prose(text) {
        let definition = line.trim_start().strip_prefix('[').and_then(|rest| rest.split_once("]: ")).map(|(_, to)| to);
        let inline = line.match_indices("](").filter_map(|(at, _)| {
            let in_code = line[..at].matches('`').count() % 2 == 1;
            let rest = &line[at + 2..];
            (!in_code).then(|| rest.split([')', ' ']).next()).flatten()
        });
        for target in inline.chain(definition.and_then(|to| to.split_whitespace().next())) {
            let elsewhere = target.contains("://") || target.starts_with("mailto:");
            if !elsewhere && !target.is_empty() {
                found.push((number, target));
            }
        }
    }
    found
}

/// The lines of a page outside its blocks of code.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_code = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let is_fence = line.trim_start().starts_with("```") || line.trim_start().starts_with("~~~");
        in_code ^= is_fence;
        (!in_code && !is_fence).then_some((index + 1, line))
    })
}

/// The names under which a page's headings can be linked to, by the rule that code hosts share: lower case, spaces
/// to dashes, other signs dropped.
fn anchors(text: &str) -> impl Iterator<Item = String> {
    prose(text).filter_map(|(_, line)| {
        let heading = line.strip_prefix('#')?.trim_start_matches('#').strip_prefix(' ')?;
        let kept = heading.trim().chars().filter(|sign| sign.is_alphanumeric() || matches!(sign, ' ' | '-' | '_'));
        Some(kept.collect::<String>().to_lowercase().replace(' ', "-"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::findings_in;

    #[test]
    fn dead_links_are_found() {
        let page = "[a](b.md) [c](gone.md#x) ![d](../image.png \"title\") [e](https://example.com) `[f](no.md)`\n\
                    ```text\n[g](no.md)\n```\n[h]: lost.md\n[i](b.md#a-heading) [j](b.md#no) [k](#here)\n# Here\n";
        let found = findings_in(check, &[("docs/a.md", page), ("docs/b.md", "## A `heading`!\n"), ("image.png", "")]);
        assert_eq!(
            found,
            [
                "docs/a.md:1: `gone.md#x` leads to nothing",
                "docs/a.md:5: `lost.md` leads to nothing",
                "docs/a.md:6: `b.md#no`: no such heading",
            ]
        );
    }
}
