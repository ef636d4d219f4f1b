//! What may stand in a component: YAML with `Tasks`, or commands as in a Dockerfile.
//!
//! The vendor publishes the list of error codes and examples of commands, but no grammar. So a command is refused only
//! where it cannot mean anything, and which of the two formats a text is in is decided by whether it is a mapping with
//! `Tasks` or begins a line with `Tasks:` or `Parameters:`. A Windows component in Dockerfile format is answered with
//! `InvalidImage.OsTypeUnsupported`, which is inferred from "Dockerfile (Linux only)".

use serde_json::{Value, json};

use crate::wire::Refusal;

/// 16 KB.
const LONGEST: usize = 16 * 1024;
const MOST_COMMANDS: usize = 127;

/// Errors: the codes of the page, each under the condition that its name says.
pub(super) fn check(content: &str, system_type: &str) -> Result<(), Refusal> {
    if content.trim().is_empty() {
        return Err(refused("MissingParameter.Content", "The required parameter Content is not supplied."));
    }
    if content.len() > LONGEST {
        return Err(refused("InvalidContent.LengthExceeded", "The specified Content exceeds 16 KB."));
    }
    let document = parse_yaml(content);
    match document {
        Ok(document) if document.get("Tasks").is_some() => check_document(&document),
        _ if content.lines().any(|line| line.starts_with("Tasks:") || line.starts_with("Parameters:")) => {
            let reason = document.err().unwrap_or_else(|| "Tasks is missing".into());
            Err(invalid_content(&reason))
        }
        _ if system_type == "Windows" => Err(refused(
            "InvalidImage.OsTypeUnsupported",
            "The specified base image does not support image building.",
        )),
        _ => check_commands(content),
    }
}

fn refused(code: &str, message: impl Into<String>) -> Refusal {
    Refusal::new(400, code, message)
}

fn invalid_content(reason: &str) -> Refusal {
    refused("InvalidParameter.Content", format!("The specified parameter Content is invalid: {reason}."))
}

fn too_many() -> Refusal {
    refused(
        "InvalidImageTemplateCommandSize.ExceededMaxNumber",
        format!("The number of commands exceeds {MOST_COMMANDS}."),
    )
}

// ---- YAML

/// Reads the text as YAML. References such as `{{ name }}` are legal there unquoted although they are not plain YAML.
fn parse_yaml(content: &str) -> Result<Value, String> {
    let mut plain = String::with_capacity(content.len());
    let mut rest = content;
    while let Some(start) = rest.find("{{") {
        let (before, inside) = rest.split_at(start);
        plain.push_str(before);
        let reference = inside.find("}}").map(|end| &inside[..end + 2]).filter(|reference| {
            reference[2..reference.len() - 2].chars().all(|c| c.is_ascii_alphanumeric() || " ._-".contains(c))
        });
        let Some(reference) = reference else {
            plain.push_str("{{");
            rest = &inside[2..];
            continue;
        };
        plain.push_str("reference");
        rest = &inside[reference.len()..];
    }
    plain.push_str(rest);
    serde_saphyr::from_str(&plain).map_err(|error| error.to_string())
}

fn check_document(document: &Value) -> Result<(), Refusal> {
    match document.get("Parameters") {
        None | Some(Value::Null) => {}
        Some(Value::Object(parameters)) => {
            for (name, parameter) in parameters {
                let kind = parameter.get("Type").and_then(Value::as_str);
                if !matches!(kind, Some("String" | "Number" | "Boolean")) {
                    return Err(invalid_content(&format!("Type of the parameter {name}")));
                }
            }
        }
        Some(_) => return Err(invalid_content("Parameters is not a mapping")),
    }
    let tasks = match document.get("Tasks") {
        Some(Value::Array(tasks)) if !tasks.is_empty() => tasks,
        _ => return Err(invalid_content("Tasks is not a list with at least one task")),
    };
    if tasks.len() > MOST_COMMANDS {
        return Err(too_many());
    }
    for (index, task) in tasks.iter().enumerate() {
        let text = |name| task.get(name).and_then(Value::as_str).filter(|text: &&str| !text.is_empty());
        if text("Name").is_none() || text("Action").is_none() {
            return Err(invalid_content(&format!("task {} has no Name or no Action", index + 1)));
        }
        if !matches!(task.get("Properties"), None | Some(Value::Null | Value::Object(_))) {
            return Err(invalid_content(&format!("Properties of task {}", index + 1)));
        }
    }
    Ok(())
}

/// The parameters that a component declares, as `DescribeImageComponents` lists them.
pub(super) fn declared_parameters(content: &str) -> Vec<Value> {
    let Ok(document) = parse_yaml(content) else { return Vec::new() };
    let Some(parameters) = document.get("Parameters").and_then(Value::as_object) else { return Vec::new() };
    parameters
        .iter()
        .map(|(name, parameter)| {
            let default = match parameter.get("DefaultValue") {
                None | Some(Value::Null) => String::new(),
                Some(Value::String(text)) => text.clone(),
                Some(other) => other.to_string(),
            };
            json!({ "Name": name, "Type": parameter.get("Type"), "DefaultValue": default })
        })
        .collect()
}

// ---- Dockerfile

fn check_commands(content: &str) -> Result<(), Refusal> {
    let commands = commands(content);
    if commands.is_empty() {
        return Err(invalid_content("there is no command"));
    }
    if commands.len() > MOST_COMMANDS {
        return Err(too_many());
    }
    commands.iter().try_for_each(|command| check_command(command))
}

/// Errors of a pipeline's steps: commands, and components. `FROM` is ignored.
pub(super) fn check_steps(content: &str) -> Result<(), Refusal> {
    if content.len() > LONGEST {
        return Err(refused("InvalidBuildContent.LengthExceeded", "The specified content exceeds 16 KB."));
    }
    let commands = commands(content);
    if commands.len() > MOST_COMMANDS {
        return Err(too_many());
    }
    let is_own = |command: &&String| !matches!(word(command).as_str(), "COMPONENT" | "FROM");
    commands.iter().filter(is_own).try_for_each(|command| check_command(command))
}

/// What the steps of a pipeline call their components.
pub(super) fn components(content: &str) -> Vec<String> {
    let commands = commands(content);
    let named = commands.iter().filter(|command| word(command) == "COMPONENT");
    named.filter_map(|command| command.split_whitespace().nth(1).map(Into::into)).collect()
}

fn word(command: &str) -> String {
    command.split_whitespace().next().unwrap_or_default().to_ascii_uppercase()
}

/// One command a line; a backslash at the end of a line continues it; empty lines and comments are none.
fn commands(content: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let mut current = String::new();
    for line in content.lines() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(part) = line.strip_suffix('\\') {
            current.push_str(part);
            current.push(' ');
        } else {
            current.push_str(line);
            commands.push(std::mem::take(&mut current));
        }
    }
    if !current.trim().is_empty() {
        commands.push(current);
    }
    commands
}

fn check_command(command: &str) -> Result<(), Refusal> {
    let command = command.trim();
    let (word, argument) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
    let (word, argument) = (word.to_ascii_uppercase(), argument.trim());
    match word.as_str() {
        "FROM" => {
            return Err(Refusal::new(
                404,
                "NotSupportedCommand.FROM",
                "The command FROM is not supported in a component.",
            ));
        }
        "COMPONENT" => {
            return Err(refused(
                "InvalidCommand.Component",
                "Image component does not support component command.",
            ));
        }
        "RESTART" if argument.is_empty() => return Ok(()),
        "RESTART" => {
            return Err(refused(
                "NotEmptyCommandContent.RESTART",
                "The content of the command RESTART must be empty.",
            ));
        }
        "RUN" | "ENV" | "LABEL" | "COPY" | "ENTRYPOINT" | "CMD" | "WORKDIR" | "USER" => {}
        other => {
            return Err(refused(
                "InvalidImageTemplateCommand.NotSupported",
                format!("The command {other} is not supported."),
            ));
        }
    }
    if argument.is_empty() {
        return Err(refused(
            &format!("EmptyCommandContent.{word}"),
            format!("The content of the command {word} is empty."),
        ));
    }
    let fits = match word.as_str() {
        "RUN" | "CMD" | "ENTRYPOINT" => words(argument).is_some(),
        "ENV" => is_environment(argument),
        "WORKDIR" => is_directory(argument),
        "COPY" => words(argument)
            .is_some_and(|words| words.iter().filter(|word| !word.starts_with("--")).count() >= 2),
        "USER" => is_user(argument),
        // A label may say anything: the page has no code for a wrong one.
        _ => true,
    };
    if fits {
        return Ok(());
    }
    Err(refused(
        &format!("InvalidCommandContent.{word}"),
        format!("The content of the command {word} is invalid: {argument}."),
    ))
}

/// The words of a command, which may be a JSON list of texts. A list that begins as JSON and is none has no words.
fn words(argument: &str) -> Option<Vec<String>> {
    if argument.starts_with("[\"") || argument == "[]" {
        return serde_json::from_str(argument).ok().filter(|words: &Vec<String>| !words.is_empty());
    }
    Some(argument.split_whitespace().map(Into::into).collect())
}

/// `NAME=value …` or `NAME value`.
fn is_environment(argument: &str) -> bool {
    let name_of = |pair: &str| pair.split_once('=').map(|(name, _)| name.to_owned());
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
    };
    match argument.split_once(char::is_whitespace) {
        // Only the first pair: later words may belong to a quoted value.
        Some((first, rest)) => match name_of(first) {
            Some(name) => is_name(&name),
            None => is_name(first) && !rest.trim().is_empty(),
        },
        None => name_of(argument).is_some_and(|name| is_name(&name)),
    }
}

/// One absolute path, or one that begins with a variable.
fn is_directory(argument: &str) -> bool {
    let quoted = argument.len() >= 2 && argument.starts_with('"') && argument.ends_with('"');
    let path = if quoted { &argument[1..argument.len() - 1] } else { argument };
    path.starts_with(['/', '$']) && (quoted || !path.contains(char::is_whitespace))
}

/// `user` or `user:group`, names or numbers.
fn is_user(argument: &str) -> bool {
    let is_name = |name: &str| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "_.-$".contains(c))
    };
    match argument.split_once(':') {
        Some((user, group)) => is_name(user) && is_name(group),
        None => is_name(argument),
    }
}
