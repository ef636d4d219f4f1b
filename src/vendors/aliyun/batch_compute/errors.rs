//! BatchCompute's error codes: code and a part of the message → class and hint.
//!
//! Sources: the error table of the CreateImage page and the documents' list of common codes. The codes of the gateway in
//! front of the service are not documented; where it uses those of Alibaba Cloud's other gateways, they are known.

use crate::{
    vendors::aliyun,
    wire::{
        Class,
        table::{Row, row, row_saying},
    },
};

/// The service's own codes, those of the other gateways, and what is left.
pub const TABLES: &[&[Row]] = &[OWN, aliyun::errors::TABLE, OTHERS];

/// The service's own codes; a part of the message before none.
const OWN: &[Row] = &[
    // The page of CreateImage
    row(
        "IdempotentTokenMismatch",
        Class::TokenReused,
        "The same token was sent before with other parameters; look at ListImages for what it made / 相同的 IdempotentToken 曾以不同参数使用过，请查看镜像列表",
    ),
    row(
        "InvalidJsonFormat",
        Class::Invalid,
        "The body arrived as invalid JSON; check proxies on the way / 请求体不是合法的 JSON，请检查中间代理",
    ),
    row(
        "InvalidHttpBody",
        Class::Invalid,
        "The body arrived as something else than a JSON object of at most 256 KB; check proxies on the way / 请求体须为不超过 256 KB 的 JSON 对象，请检查中间代理",
    ),
    row("MissingName", Class::Invalid, "Give forProvider.name / 请填写 name"),
    row_saying(
        "InvalidName",
        "Its type must be string",
        Class::Invalid,
        "Write forProvider.name as text / name 必须是字符串",
    ),
    row_saying(
        "InvalidName",
        "Its length must be in",
        Class::Invalid,
        "Give forProvider.name 1 to 64 characters / name 的长度须为 1~64",
    ),
    row_saying(
        "InvalidName",
        "It must only contain characters within",
        Class::Invalid,
        "Use only letters, digits, _ and - in forProvider.name, and no digit first / name 只能包含字母、数字、_ 和 -，且不能以数字开头",
    ),
    row_saying(
        "InvalidDescription",
        "Its type must be string",
        Class::Invalid,
        "Write forProvider.description as text / description 必须是字符串",
    ),
    row_saying(
        "InvalidDescription",
        "Its length must be in",
        Class::Invalid,
        "Shorten forProvider.description to 1024 characters / description 的长度不能超过 1024",
    ),
    row("MissingEcsImageId", Class::Invalid, "Give forProvider.ecsImageId / 请填写 ecsImageId"),
    row_saying(
        "InvalidEcsImageId",
        "Its type must be string",
        Class::Invalid,
        "Write forProvider.ecsImageId as text / ecsImageId 必须是字符串",
    ),
    row_saying(
        "InvalidEcsImageId",
        "Its length must be in",
        Class::Invalid,
        "Give forProvider.ecsImageId 1 to 256 characters / ecsImageId 的长度须为 1~256",
    ),
    row_saying(
        "InvalidEcsImageId",
        "does not exist or not",
        Class::NotFound,
        "Create the ECS image in the account and region of this object, or correct forProvider.ecsImageId / 该 ECS 镜像不存在或不属于本账号，请创建镜像或修改 ecsImageId",
    ),
    row_saying(
        "InvalidEcsImageId",
        "has been registered",
        Class::Conflict,
        "An ECS image can be registered once: use another ecsImageId, delete the BatchCompute image that has it, or take that one over with spec.import / 该 ECS 镜像已被注册，请更换 ecsImageId、删除已有的镜像，或用 spec.import 接管",
    ),
    row_saying(
        "InvalidEcsImageId",
        "The image is not available",
        Class::Busy,
        "The ECS image must be Available; it is tried again / ECS 镜像当前不可用，将自动重试",
    ),
    row_saying(
        "InvalidEcsImageId",
        "Quota exceeds",
        Class::Quota,
        "Stop sharing ECS images that need not be shared, or ask Alibaba Cloud for a higher quota; it is tried again from time to time / 镜像共享配额已满，请取消不必要的共享或申请提升配额，稍后会自动重试",
    ),
    row_saying(
        "InvalidRoleArn",
        "created AliyunBatchComputeDefaultRole yet",
        Class::Permission,
        "Create the RAM role AliyunBatchComputeDefaultRole for BatchCompute; it is tried again from time to time / 请为批量计算创建 RAM 角色 AliyunBatchComputeDefaultRole，稍后会自动重试",
    ),
    row_saying(
        "InvalidRoleArn",
        "have access to share image",
        Class::Permission,
        "Allow the RAM role AliyunBatchComputeDefaultRole to share images; it is tried again from time to time / 请为 RAM 角色 AliyunBatchComputeDefaultRole 授予共享镜像的权限，稍后会自动重试",
    ),
    row("MissingPlatform", Class::Invalid, "Give forProvider.platform / 请填写 platform"),
    row_saying(
        "InvalidPlatform",
        "Its type must be string",
        Class::Invalid,
        "Write forProvider.platform as text / platform 必须是字符串",
    ),
    row_saying(
        "InvalidPlatform",
        "Its length must be in",
        Class::Invalid,
        "Use Linux or Windows as forProvider.platform / platform 只能是 Linux 或 Windows",
    ),
    row(
        "QuotaExhausted.MaxImageCount",
        Class::Quota,
        "Delete images that are not needed, or ask Alibaba Cloud for a higher quota; it is tried again from time to time / 镜像数量已达配额，请清理或申请提升配额，稍后会自动重试",
    ),
    // The documents' common codes
    row(
        "QuotaExhausted*",
        Class::Quota,
        "Make room, or ask Alibaba Cloud for a higher quota; it is tried again from time to time / 配额已用尽，请清理或申请提升配额，稍后会自动重试",
    ),
    row("InvalidResource.NotFound", Class::NotFound, "The image does not exist / 镜像不存在"),
    row(
        "InvalidResource.AlreadyExisting",
        Class::Conflict,
        "Something of that name exists already; use another one, or take it over with spec.import / 资源已存在，请更换名称或用 spec.import 接管",
    ),
    row(
        "StateConflict",
        Class::Busy,
        "A cluster or job still uses the image; remove it there first / 镜像仍被集群或作业使用，请先解除引用",
    ),
    row(
        "InvalidRoleArn",
        Class::Permission,
        "Check the RAM role AliyunBatchComputeDefaultRole and what it may do; it is tried again from time to time / 请检查 RAM 角色 AliyunBatchComputeDefaultRole 及其权限，稍后会自动重试",
    ),
    row(
        "InvalidVersion.NotFound",
        Class::Unlisted,
        "The endpoint does not know API version 2015-11-11; check the account's batchCompute.endpoint / 该地址不支持 2015-11-11 版本的接口，请检查账号的 batchCompute.endpoint",
    ),
    row(
        "InvalidUrlPattern",
        Class::Unlisted,
        "The endpoint has no such path; check the account's batchCompute.endpoint / 该地址没有此接口，请检查账号的 batchCompute.endpoint",
    ),
    row(
        "MethodNotAllowed",
        Class::Unlisted,
        "The endpoint does not take this call; check the account's batchCompute.endpoint / 该地址不支持此操作，请检查账号的 batchCompute.endpoint",
    ),
];

/// `Invalid{Parameter}` and `Missing{Parameter}`: everything else of these two families; but for what says nothing
/// against the spec. The service's names for a bad signature, key, token or clock are not documented, and other services of
/// Alibaba Cloud write them without a dot: a clock that is off must not end an image for good.
const OTHERS: &[Row] = &[
    row(
        "InvalidAccessKey*",
        Class::Credentials,
        "The accessKeyId is not known or disabled; correct the Secret / accessKeyId 不存在或已禁用，请修改 Secret",
    ),
    row(
        "InvalidSecurityToken*",
        Class::Credentials,
        "The security token has expired or is wrong; renew it in the Secret / securityToken 已过期或有误，请更新 Secret",
    ),
    row(
        "InvalidSignature*",
        Class::Credentials,
        "The signature was refused; check the keys in the Secret, and proxies on the way / 签名校验未通过，请检查 Secret 与中间代理",
    ),
    row(
        "InvalidAuth*",
        Class::Credentials,
        "The signature was refused; check the keys in the Secret, and proxies on the way / 签名校验未通过，请检查 Secret 与中间代理",
    ),
    row(
        "InvalidTime*",
        Class::ClockSkew,
        "The clock of the operator's node and Alibaba Cloud's differ by more than 15 minutes; correct the node's clock / 节点时钟与阿里云相差超过 15 分钟，请校时",
    ),
    row(
        "InvalidDate*",
        Class::ClockSkew,
        "The clock of the operator's node and Alibaba Cloud's differ by more than 15 minutes; correct the node's clock / 节点时钟与阿里云相差超过 15 分钟，请校时",
    ),
    row("Invalid*", Class::Invalid, "Correct the parameter that the message names / 请修改提示中的参数"),
    row("Missing*", Class::Invalid, "Give the parameter that the message names / 请补充提示中的参数"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::table::{check, lookup};

    #[test]
    fn every_row_can_be_reached_and_has_both_languages() {
        check(OWN);
        check(OTHERS);
    }

    /// HTTP status, the reason that users see, code and message: the table of the page of CreateImage, in its order.
    const PAGE: &str = include_str!("../../../../tests/data/batch-compute-create-image-codes.txt");

    #[test]
    fn every_error_of_the_page_has_its_class_and_a_hint() {
        assert_eq!(PAGE.lines().count(), 23, "the page has 23 errors");
        for line in PAGE.lines() {
            let [status, reason, code, message] = line.splitn(4, ' ').collect::<Vec<_>>()[..] else {
                panic!("{line}")
            };
            assert!(matches!(status, "400" | "403"), "{line}");
            let (class, hint) = lookup(TABLES, code, message);
            assert_eq!(class.reason(), reason, "{line}");
            assert!(hint.contains(" / "), "{line}: {hint}");
        }
    }

    #[test]
    fn the_gateways_codes_are_known_and_unknown_ones_are_never_final() {
        let class = |code: &str| lookup(TABLES, code, "").0;
        assert_eq!(class("SignatureDoesNotMatch"), Class::Credentials);
        assert_eq!(class("Throttling.User"), Class::Throttled);
        assert_eq!(class("InternalError"), Class::Unavailable);
        assert_eq!(class("InvalidUserData"), Class::Invalid);
        for (code, expected) in [
            ("InvalidAccessKeyId", Class::Credentials),
            ("InvalidAccessKeyId.NotFound", Class::Credentials),
            ("InvalidSecurityToken", Class::Credentials),
            ("InvalidSignature", Class::Credentials),
            ("InvalidAuthorization", Class::Credentials),
            ("InvalidTimeStamp.Expired", Class::ClockSkew),
            ("InvalidTimestamp", Class::ClockSkew),
            ("InvalidDate", Class::ClockSkew),
            ("InvalidDateHeader", Class::ClockSkew),
        ] {
            assert_eq!(class(code), expected, "{code} says nothing against the spec");
            assert!(!class(code).is_final(), "{code}");
        }
        assert_eq!(class("Something.New"), Class::Unlisted);
    }
}
