//! What the Dockerfile says of an image besides its files: the instructions of its stage, read without an engine.

use std::collections::BTreeMap;

use parse_dockerfile::{Command, Instruction, Source};

/// How an image is run and described.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recipe {
    /// Who runs it, `<user>:<group>`.
    pub user: String,
    /// The program.
    pub entrypoint: Vec<String>,
    /// Its arguments, unless others are given.
    pub command: Vec<String>,
    /// Where it listens, `<port>/<protocol>`.
    pub ports: Vec<String>,
    /// Its environment, `<name>=<value>`.
    pub environment: Vec<String>,
    /// What it says of itself.
    pub labels: BTreeMap<String, String>,
}

impl Recipe {
    /// Reads a stage. Of what `arguments` do not give, the defaults in the stage hold. An instruction that would be
    /// passed over is an error, so that this image and an engine's never differ.
    pub fn read(dockerfile: &str, stage: &str, arguments: &[(&str, String)]) -> Result<Self, String> {
        let parsed = parse_dockerfile::parse(dockerfile).map_err(|error| error.to_string())?;
        let files = format!("/image/{stage}/rootfs/");
        let stage = parsed.stage(stage).ok_or_else(|| format!("it has no stage `{stage}`"))?;
        if stage.from.image.value != "scratch" {
            return Err(format!(
                "only stages from scratch are understood, not from {}",
                stage.from.image.value
            ));
        }
        let mut known = BTreeMap::new();
        let mut recipe = Self::default();
        for instruction in stage.instructions {
            match instruction {
                Instruction::Arg(arg) => {
                    let (name, default) =
                        arg.arguments.value.split_once('=').unwrap_or((&arg.arguments.value, ""));
                    let given = arguments.iter().find(|(given, _)| *given == name);
                    known.insert(name.to_owned(), given.map_or(default, |(_, value)| value).to_owned());
                }
                // The only files that it may have are those that `RootFs` wrote.
                Instruction::Copy(copy)
                    if copy.dest.value == "/"
                        && matches!(&*copy.src, [Source::Path(path)] if path.value == files) => {}
                Instruction::User(user) => recipe.user = user.arguments.value.clone().into_owned(),
                Instruction::Entrypoint(entrypoint) => recipe.entrypoint = exec(&entrypoint.arguments)?,
                Instruction::Cmd(command) => recipe.command = exec(&command.arguments)?,
                Instruction::Expose(expose) => {
                    recipe.ports.extend(expose.arguments.iter().map(|port| port.value.clone().into_owned()));
                }
                Instruction::Env(env) => {
                    let pairs = pairs(&env.arguments.value, &known)?;
                    recipe
                        .environment
                        .extend(pairs.into_iter().map(|(name, value)| format!("{name}={value}")));
                }
                Instruction::Label(label) => recipe.labels.extend(pairs(&label.arguments.value, &known)?),
                other => return Err(format!("this instruction is not understood here: {other:?}")),
            }
        }
        Ok(recipe)
    }
}

/// A command that needs no shell, since the image has none.
fn exec(command: &Command<'_>) -> Result<Vec<String>, String> {
    match command {
        Command::Exec(words) => Ok(words.value.iter().map(|word| word.value.clone().into_owned()).collect()),
        Command::Shell(text) => Err(format!("`{}` needs a shell; write it as a JSON array", text.value)),
        _ => Err("a command of an unknown form".into()),
    }
}

/// `name="value" name=value`, with `${ARG}` in the values.
fn pairs(text: &str, known: &BTreeMap<String, String>) -> Result<Vec<(String, String)>, String> {
    let words = shlex::split(text).ok_or_else(|| format!("`{text}` has a quote without its other half"))?;
    let pair = |word: String| {
        let (name, value) = word.split_once('=').ok_or_else(|| format!("`{word}` is not name=value"))?;
        let mut value = value.to_owned();
        for (argument, given) in known {
            value = value.replace(&format!("${{{argument}}}"), given);
        }
        if value.contains('$') {
            return Err(format!("`{word}` names an argument that the stage does not declare"));
        }
        Ok((name.to_owned(), value))
    };
    words.into_iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
FROM rust AS build
RUN make
FROM scratch AS program
ARG VERSION=dev
LABEL org.title="two words" \
      org.version="${VERSION}"
COPY --from=build /image/program/rootfs/ /
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/program", "--flag"]
CMD ["run"]
"#;

    #[test]
    fn a_stage_is_read_with_its_arguments() {
        let recipe = Recipe::read(FILE, "program", &[("VERSION", "1.2.3".into())]).unwrap();
        assert_eq!(recipe.user, "65532:65532");
        assert_eq!(recipe.entrypoint, ["/program", "--flag"]);
        assert_eq!(recipe.command, ["run"]);
        assert_eq!(recipe.ports, ["8080"]);
        assert_eq!(recipe.labels["org.title"], "two words");
        assert_eq!(recipe.labels["org.version"], "1.2.3");
        assert_eq!(Recipe::read(FILE, "program", &[]).unwrap().labels["org.version"], "dev");
    }

    #[test]
    fn what_would_be_passed_over_is_an_error() {
        for (line, says) in [
            ("VOLUME /data", "not understood"),
            ("RUN touch /file", "not understood"),
            ("COPY --from=build /etc/hosts /etc/hosts", "not understood"),
            ("ENTRYPOINT program --flag", "needs a shell"),
            ("LABEL a=${UNKNOWN}", "does not declare"),
            ("LABEL a=\"b", "quote"),
        ] {
            let refusal = Recipe::read(&format!("{FILE}{line}\n"), "program", &[]).unwrap_err();
            assert!(refusal.contains(says), "{line}: {refusal}");
        }
        assert!(Recipe::read(FILE, "build", &[]).unwrap_err().contains("from scratch"));
        assert!(Recipe::read(FILE, "other", &[]).unwrap_err().contains("no stage"));
    }
}
