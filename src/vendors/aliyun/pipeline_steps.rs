//! The steps of image pipelines: what a user writes of each, and the vendor's text of commands that they make together.

use crate::{engine::index::Reference, image::ImageRef};
use kube::{KubeSchema, core::Rule};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{collections::BTreeMap, fmt::Write};

// ---- What a user writes --------------------------------------------------------------------------------------------

/// 16 KB: of BuildContent and of TestContent.
pub(super) const LONGEST: usize = 16 * 1024;
/// Of each of the two.
pub(super) const MOST_COMMANDS: usize = 127;

/// How long a list of steps gets at least when it is written out, in CEL.
pub(super) fn fits(field: &str) -> Rule {
    let run = "self.map(step, has(step.run) ? bytes(step.run).size() + 5 : 12).sum()";
    Rule::new(format!("{run} <= {LONGEST}"))
        .message(&*format!("{field} must be at most 16 KB (16384 bytes) when its steps are written out"))
}

/// One step: a component, with values for its parameters, or a command.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(has(self.componentRef) ? 1 : 0) + (has(self.componentId) ? 1 : 0) + (has(self.component) ? 1 : 0) + (has(self.run) ? 1 : 0) == 1").message("a step needs exactly one of componentRef, componentId, component and run"),
    validation = Rule::new("!has(self.parameters) || !has(self.run)").message("parameters are a component's: a step with run has none"),
)]
pub struct Step {
    /// An ImageComponent of the same namespace: the pipeline is made when that is Ready, with the id that it has then. A version
    /// of it that is made later is not taken up; `component` with a `*` in its version is what does that. Example: `{name: hello}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component_ref: Option<ImageRef>,

    /// The vendor's id of a component, 1 to 64 characters (a limit of this operator). Example: `ic-bp67acfmxazb4p`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[a-zA-Z0-9-]+$')").message("componentId must be the id of a component, for example ic-bp67acfmxazb4p"))]
    pub component_id: Option<String>,

    /// A component by name and version, which the vendor looks up at each run.
    /// Example: `{name: testComponent, version: "1.*.*", accountId: "1234567890123456"}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<ComponentName>,

    /// Values for the component's parameters, at most 20 of 1 to 1024 characters each (limits of this operator): those without a
    /// default need one. Without white space, since how it would have to be written is not documented. Example: `{version: "1.0"}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 20), transform = short_values)]
    #[x_kube(
        validation = Rule::new("self.all(name, name.matches('^[A-Za-z_][A-Za-z0-9_-]{0,127}$'))").message("the name of a parameter must be letters, digits, _ and -, first a letter or _"),
        validation = Rule::new("self.all(name, self[name].matches('^[^\\\\s\\\\p{Z}]+$'))").message("the value of a parameter must not be empty or contain white space"),
    )]
    pub parameters: BTreeMap<String, String>,

    /// A command for the shell of Linux, 1 to 16384 characters, on one line or with a backslash at the end of each line but the
    /// last. Example: `dnf install --assumeyes nginx`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16384))]
    #[x_kube(
        validation = Rule::new("self.matches('[^\\\\s\\\\p{Z}]')").message("run must not be blank"),
        validation = Rule::new("!self.trim().matches('(^|[^\\\\\\\\])\\\\r?\\\\n')").message("run must be one command: end each line but the last with a backslash, or make a step of each"),
        validation = Rule::new("!self.trim().endsWith('\\\\')").message("run must not end with a backslash, which would make the next step a part of this one"),
    )]
    pub run: Option<String>,
}

fn short_values(schema: &mut schemars::Schema) {
    if let Some(values) = schema.get_mut("additionalProperties").and_then(Value::as_object_mut) {
        values.insert("maxLength".into(), 1024.into());
        values.insert(
            "description".into(),
            "The value of a parameter, 1 to 1024 characters. Example: `1.0`.".into(),
        );
    }
}

/// A component by its name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ComponentName {
    /// The component's name, 2 to 128 characters. Example: `testComponent`.
    #[schemars(length(min = 2, max = 128))]
    #[x_kube(validation = Rule::new("self.matches('^[a-zA-Z0-9\\\\p{Han}:_.-]*$')").message("name must be the name of a component: letters, Chinese characters, digits, colons (:), underscores (_), full stops (.) and hyphens (-)"))]
    pub name: String,
    /// Its version, major.minor.patch; `*` for a part is the newest. Example: `1.*.*`.
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+|[*])[.]([0-9]+|[*])[.]([0-9]+|[*])$')").message("version must be major.minor.patch, each a number or *, for example 1.*.*"))]
    pub version: String,
    /// The id of the Alibaba Cloud account that has the component, up to 20 digits. Example: `1234567890123456`.
    #[schemars(length(max = 20))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9]+$')").message("accountId must be the number of an Alibaba Cloud account, in quotes"))]
    pub account_id: String,
}

// ---- The vendor's text ---------------------------------------------------------------------------------------------

impl Step {
    pub(super) fn reference(&self, instead: &'static str) -> Option<Reference> {
        let component = self.component_ref.as_ref()?;
        Some(component.reference(super::IMAGE_COMPONENT, instead).nearby())
    }

    /// As a line of BuildContent; `None`: what it refers to is not known.
    fn written(&self, region: &str) -> Option<String> {
        if let Some(run) = &self.run {
            return Some(format!("RUN {}", run.trim()));
        }
        let mut line = match (&self.component_id, &self.component) {
            (Some(id), _) => format!("COMPONENT {id}"),
            (None, Some(ComponentName { name, version, account_id })) => {
                format!("COMPONENT acs:ecs:{region}:{account_id}:imagecomponent/{name}:{version}")
            }
            (None, None) => return None,
        };
        for (name, value) in &self.parameters {
            let _ = write!(line, " --{name} {value}");
        }
        Some(line)
    }
}

/// How many commands a text has: lines that do not continue the one before, and are no comments.
pub(super) fn commands(content: &str) -> usize {
    let mut continues = false;
    let begins = |line: &&str| {
        let begins = !continues && !line.trim().is_empty() && !line.trim_start().starts_with('#');
        continues = line.trim_end_matches('\r').ends_with('\\');
        begins
    };
    content.lines().filter(begins).count()
}

/// The text itself, or that of the steps; `None`: neither, or what a step refers to is not known.
pub(super) fn written(content: Option<&String>, steps: Option<&Vec<Step>>, region: &str) -> Option<String> {
    let lines = || steps?.iter().map(|step| step.written(region)).collect::<Option<Vec<_>>>();
    content.cloned().or_else(|| lines().map(|lines| lines.join("\n")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_lines_that_continue_are_no_commands() {
        assert_eq!(commands("# a\nRUN a \\\n b \\\r\n c\n\nRESTART\n  # b\n"), 2);
    }
}
