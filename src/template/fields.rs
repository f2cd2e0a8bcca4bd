//! The fields a template reads, by Loki's rules.

use super::ast::{Expression, ExpressionKind, Node, Pipe, Tree};

/// One action of one field of one name, variables or not.
pub(super) fn only_field(tree: &Tree) -> Option<&str> {
    let [Node::Action(pipe)] = &*tree.nodes else { return None };
    let [command] = &*pipe.commands else { return None };
    match &*command.arguments {
        [Expression { kind: ExpressionKind::Field(names), .. }] => match &**names {
            [name] => Some(name),
            _ => None,
        },
        _ => None,
    }
}

pub(super) fn listed_fields(tree: &Tree) -> Vec<String> {
    let mut names = Vec::new();
    of_nodes(&tree.nodes, &mut names);
    let mut unique: Vec<String> = Vec::new();
    for name in names {
        if !unique.iter().any(|known| known == name) {
            unique.push(name.to_owned());
        }
    }
    unique
}

fn of_nodes<'t>(nodes: &'t [Node], names: &mut Vec<&'t str>) {
    for node in nodes {
        match node {
            Node::Action(pipe) => of_pipe(pipe, names),
            Node::If(branch) | Node::With(branch) => {
                for (pipe, body) in &branch.arms {
                    of_pipe(pipe, names);
                    of_nodes(body, names);
                }
                of_nodes(branch.otherwise.as_deref().unwrap_or_default(), names);
            }
            Node::Range(range) => {
                of_pipe(&range.pipe, names);
                of_nodes(&range.body, names);
                of_nodes(range.otherwise.as_deref().unwrap_or_default(), names);
            }
            // What a template is called with is not looked at.
            Node::Text(_) | Node::Template(_) | Node::Break | Node::Continue => {}
        }
    }
}

fn of_pipe<'t>(pipe: &'t Pipe, names: &mut Vec<&'t str>) {
    for argument in pipe.commands.iter().flat_map(|command| &command.arguments) {
        match &argument.kind {
            ExpressionKind::Field(fields) => names.extend(fields.iter().map(String::as_str)),
            ExpressionKind::Pipe(pipe) => of_pipe(pipe, names),
            _ => {}
        }
    }
}
