//! Every error code of the pages of Alibaba Cloud ECS comes from a request that deserves it.

use vendor_simulator::aliyun_ecs::Component;

use crate::support::{ecs, start};

/// Status and code, and parameters of `CreateImageComponent` that provoke them.
fn refused_creations() -> Vec<(&'static str, Vec<(&'static str, String)>)> {
    let content = |text: &str| vec![("Content", text.to_owned())];
    let with = |name, value: &str| vec![("Content", "RUN true".to_owned()), (name, value.to_owned())];
    let tags = |count: usize| {
        let mut parameters = with("Name", "tagged");
        let names: Vec<(&'static str, String)> = (1..=count)
            .map(|n| (&*Box::leak(format!("Tag.{n}.Key").into_boxed_str()), format!("k{n}")))
            .collect();
        parameters.extend(names);
        parameters
    };
    vec![
        ("400 InvalidCommand.Component", content("COMPONENT ic-1")),
        ("400 InvalidName.Malformed", with("Name", "x")),
        ("400 InvalidName.Malformed", with("Name", "1st")),
        ("400 InvalidName.Malformed", with("Name", "a b")),
        ("400 InvalidName.Malformed", with("Name", "http://a")),
        ("400 InvalidName.Malformed", with("Name", &"a".repeat(129))),
        ("200", with("Name", &"镜".repeat(128))),
        ("400 InvalidDescription.Malformed", with("Description", "x")),
        ("400 InvalidDescription.Malformed", with("Description", "https://a")),
        ("400 InvalidDescription.Malformed", with("Description", &"镜".repeat(257))),
        ("200", with("Description", &"镜".repeat(256))),
        ("400 InvalidSystemType.NotSupportedValue", with("SystemType", "linux")),
        ("400 InvalidComponentType.NotSupportedValue", with("ComponentType", "Deploy")),
        ("400 InvalidContent.LengthExceeded", content(&format!("RUN {}", "x".repeat(16 * 1024)))),
        ("200", content(&format!("RUN {}", "x".repeat(16 * 1024 - 4)))),
        ("400 InvalidImageTemplateCommandSize.ExceededMaxNumber", content(&"RUN true\n".repeat(128))),
        ("200", content(&"RUN true\n".repeat(127))),
        ("400 InvalidImageTemplateCommand.NotSupported", content("ADD a b")),
        ("400 InvalidCommandContent.RUN", content("RUN [\"a\"")),
        ("200", content("RUN [ -f /x ] && \\\n  true")),
        ("400 InvalidCommandContent.ENV", content("ENV 1=2")),
        ("400 InvalidCommandContent.ENV", content("ENV LONELY")),
        ("200", content("ENV A=1 B=2\nENV C \"d e\"")),
        ("400 InvalidCommandContent.WORKDIR", content("WORKDIR /a /b")),
        ("400 InvalidCommandContent.COPY", content("COPY onlyone")),
        ("200", content("COPY --chown=a:b x /y")),
        ("400 InvalidCommandContent.USER", content("USER a b")),
        ("400 InvalidCommandContent.CMD", content("CMD [\"a\", 1]")),
        ("400 InvalidCommandContent.ENTRYPOINT", content("ENTRYPOINT []")),
        ("400 MissingParameter.Content", vec![]),
        ("400 MissingParameter.Content", content(" \n")),
        ("400 EmptyCommandContent.RUN", content("RUN")),
        ("400 EmptyCommandContent.ENV", content("ENV ")),
        ("400 EmptyCommandContent.LABEL", content("LABEL")),
        ("400 EmptyCommandContent.COPY", content("COPY")),
        ("400 EmptyCommandContent.ENTRYPOINT", content("ENTRYPOINT")),
        ("400 EmptyCommandContent.CMD", content("CMD")),
        ("400 NotEmptyCommandContent.RESTART", content("RESTART now")),
        ("200", content("# a comment\nRUN a\nRESTART\nLABEL a=b\nWORKDIR /a\nUSER a:b\nCMD [\"a\"]")),
        ("400 EmptyCommandContent.WORKDIR", content("WORKDIR")),
        ("400 EmptyCommandContent.USER", content("USER")),
        ("400 InvalidParameter.Content", content("Tasks: []")),
        ("400 InvalidParameter.Content", content("Tasks:\n- {Name: a}")),
        ("400 InvalidParameter.Content", content("Tasks:\n- {Name: a, Action: b, Properties: c}")),
        ("400 InvalidParameter.Content", content("Tasks:\n - [")),
        (
            "400 InvalidParameter.Content",
            content("Parameters: {p: {Type: Text}}\nTasks:\n- {Name: a, Action: b}"),
        ),
        ("400 InvalidParameter.Content", content("Parameters: {p: {Type: String}}")),
        ("400 InvalidParameter.Content", content("# nothing")),
        (
            "200",
            content(
                "Parameters:\n  p: {Type: String}\nTasks:\n- Name: a\n  Action: RunShellCommand\n  Properties:\n    \
                 commandContent: echo {{ p }}\n- Name: b\n  Action: Whatever\n  Properties:\n    x: {{ a.stdout }}\n",
            ),
        ),
        ("400 InvalidImage.OsTypeUnsupported", with("SystemType", "Windows")),
        ("400 InvalidParameter.ComponentVersion", with("ComponentVersion", "1.0")),
        ("400 InvalidParameter.ComponentVersion", with("ComponentVersion", "1.0.-1")),
        ("400 InvalidParameter.ComponentVersion", with("ComponentVersion", "1.0.0.0")),
        ("403 InvalidComponentVersion.Exist", {
            let mut parameters = with("Name", "taken");
            parameters.push(("ComponentVersion", "1.0.0".into()));
            parameters
        }),
        ("404 InvalidResourceGroup.NotFound", with("ResourceGroupId", "rg-none")),
        ("404 NotSupportedCommand.FROM", content("FROM alpine")),
        ("400 NumberExceed.Tags", tags(21)),
        ("200", tags(20)),
        ("400 InvalidTagKey.Malformed", with("Tag.1.Key", "aliyun-x")),
        ("400 InvalidParameter.ClientToken", with("ClientToken", &"x".repeat(65))),
    ]
}

#[tokio::test]
async fn every_code_of_the_creation_page_is_provoked() {
    let simulator = start().await;
    simulator.aliyun_ecs().seed(Component { name: "taken".into(), ..Component::default() });
    for (expected, parameters) in refused_creations() {
        let parameters: Vec<(&str, &str)> =
            parameters.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let before = simulator.aliyun_ecs().count();
        let reply = ecs(&simulator, "CreateImageComponent", &parameters).await;
        let shown: String = format!("{parameters:?}").chars().take(120).collect();
        assert_eq!(reply.verdict(), expected, "{shown}: {}", reply.text());
        let made = simulator.aliyun_ecs().count() - before;
        assert_eq!(made, usize::from(expected == "200"), "{shown}");
    }

    let creation = [("Content", "RUN true")];
    simulator.configure(|settings| settings.aliyun_ecs.service_linked_role = false);
    let reply = ecs(&simulator, "CreateImageComponent", &creation).await;
    assert_eq!(reply.verdict(), "403 InvalidOperation.NoPermissionCreateServiceLinkedRole");
    simulator.configure(|settings| {
        settings.aliyun_ecs.service_linked_role = true;
        settings.aliyun_ecs.component_quota = Some(3);
    });
    let reply = ecs(&simulator, "CreateImageComponent", &creation).await;
    assert_eq!(reply.verdict(), "400 QuotaExceed.ImageComponent");
}

/// The codes of the page, so that none is left out of the table above.
#[test]
fn the_table_has_every_code_of_the_page() {
    const PAGE: &str = include_str!("../data/aliyun-ecs-codes.txt");
    let provoked: Vec<&str> = refused_creations().into_iter().map(|(expected, _)| expected).collect();
    let elsewhere =
        ["403 InvalidOperation.NoPermissionCreateServiceLinkedRole", "400 QuotaExceed.ImageComponent"];
    let missing: Vec<&str> =
        PAGE.lines().filter(|code| !provoked.contains(code) && !elsewhere.contains(code)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[tokio::test]
async fn the_other_actions_refuse_what_their_pages_say() {
    let simulator = start().await;
    let used = simulator.aliyun_ecs().seed(Component { in_use: true, ..Component::default() });
    let many_ids: Vec<(String, String)> =
        (1..=21).map(|n| (format!("ImageComponentId.{n}"), "ic-1".into())).collect();
    let many_ids: Vec<(&str, &str)> =
        many_ids.iter().map(|(name, id)| (name.as_str(), id.as_str())).collect();
    let about = [("ResourceType", "imagecomponent"), ("ResourceId.1", used.as_str())];
    for (action, parameters, expected) in [
        (
            "DeleteImageComponent",
            vec![("ImageComponentId", used.as_str())],
            "403 InvalidImageComponent.InUse",
        ),
        ("DeleteImageComponent", vec![("ImageComponentId", "ic-none")], "404 InvalidImageComponent.NotFound"),
        ("DeleteImageComponent", vec![], "400 MissingParameter"),
        ("DescribeImageComponents", many_ids, "400 InvalidParameter.ImageComponentId"),
        ("DescribeImageComponents", vec![("MaxResults", "501")], "400 InvalidParameter.MaxResults"),
        ("DescribeImageComponents", vec![("MaxResults", "0")], "400 InvalidParameter.MaxResults"),
        ("DescribeImageComponents", vec![("NextToken", "nonsense")], "400 InvalidParameter.NextToken"),
        (
            "DescribeImageComponents",
            vec![("ComponentVersion", "1.0.0")],
            "400 InvalidParameter.ComponentVersion",
        ),
        (
            "DescribeImageComponents",
            vec![("Name", "n"), ("ComponentVersion", "*.*.0")],
            "400 InvalidParameter.ComponentVersion",
        ),
        ("DescribeImageComponents", vec![("Owner", "me")], "400 InvalidParameter.Owner"),
        ("TagResources", about.to_vec(), "400 MissingParameter"),
        ("TagResources", [&about[..], &[("Tag.1.Key", "acs:x")]].concat(), "400 InvalidTagKey.Malformed"),
        (
            "TagResources",
            [&about[..], &[("Tag.1.Key", "x"), ("Tag.1.Value", "http://")]].concat(),
            "400 InvalidTagValue.Malformed",
        ),
        (
            "TagResources",
            [&about[..], &[("Tag.1.Key", "x"), ("Tag.2.Key", "x")]].concat(),
            "400 Duplicate.TagKey",
        ),
        (
            "TagResources",
            vec![("ResourceType", "teapot"), ("ResourceId.1", &used), ("Tag.1.Key", "x")],
            "404 InvalidResourceType.NotFound",
        ),
        (
            "TagResources",
            vec![("ResourceType", "imagecomponent"), ("ResourceId.1", "ic-none"), ("Tag.1.Key", "x")],
            "404 InvalidResourceId.NotFound",
        ),
        ("UntagResources", about.to_vec(), "400 MissingParameter"),
        (
            "JoinResourceGroup",
            vec![("ResourceType", "imagecomponent"), ("ResourceId", &used), ("ResourceGroupId", "rg-none")],
            "404 InvalidResourceGroup.NotFound",
        ),
        (
            "JoinResourceGroup",
            vec![("ResourceType", "imagecomponent"), ("ResourceId", "ic-none")],
            "404 InvalidResourceId.NotFound",
        ),
    ] {
        let reply = ecs(&simulator, action, &parameters).await;
        assert_eq!(reply.verdict(), expected, "{action} {parameters:?}: {}", reply.text());
    }
    assert!(simulator.ledger().effects.is_empty());
}
