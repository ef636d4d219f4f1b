//! Volcengine's error codes: one table, code → class and hint. A code that ends in `*` stands for all that begin so; one
//! that also begins with `*` for all that contain it. Numbers are the cloud phone's (ACEP) own codes.
//!
//! Sources: the error table of the ExportImage page, the gateway's common codes, and the cloud phone's error codes
//! (document 1134303).

use crate::wire::Class;

/// Class and hint (English / 中文) of a code; an unknown one is [`Class::Unlisted`] without a hint.
pub fn lookup(code: &str) -> (Class, &'static str) {
    let matches = |row: &&(&str, Class, &'static str)| match row.0.strip_suffix('*') {
        Some(part) => {
            part.strip_prefix('*').map_or_else(|| code.starts_with(part), |part| code.contains(part))
        }
        None => row.0 == code,
    };
    TABLE.iter().find(matches).map_or((Class::Unlisted, ""), |row| (row.1, row.2))
}

/// All rows: exact codes first where a family follows.
pub const TABLE: &[(&str, Class, &str)] = &[
    // ExportImage
    (
        "InvalidImageForExportImage.UnSupported",
        Class::Invalid,
        "Choose an image that can be exported: a custom image, not one from the marketplace or an encrypted one / 该镜像不支持导出，请更换",
    ),
    (
        "InvalidImageStatus",
        Class::Busy,
        "The image is not available now; it is tried again when it may be / 镜像当前状态不支持导出，稍后自动重试",
    ),
    (
        "InvalidTOSPrefix.Malformed",
        Class::Invalid,
        "Correct forProvider.tosPrefix: 1 to 30 letters and digits / 请修改 tosPrefix：1~30 位字母或数字",
    ),
    (
        "InvalidTosPutObject.AccessDenied",
        Class::Permission,
        "Allow ECS to write to the bucket: tos:PutObject in the IAM policy of ECS / 请在 IAM 中授权 ECS tos:PutObject",
    ),
    (
        "MissingParameter.ImageId",
        Class::Invalid,
        "Give forProvider.imageId or imageRef / 请填写 imageId 或 imageRef",
    ),
    ("MissingParameter.TOSBucket", Class::Invalid, "Give forProvider.tosBucket / 请填写 tosBucket"),
    ("MissingParameter.TOSPrefix", Class::Invalid, "Give forProvider.tosPrefix / 请填写 tosPrefix"),
    (
        "InvalidImage.NotFound",
        Class::NotFound,
        "The image does not exist in the account's region; correct forProvider.imageId, or create it / 镜像不存在，请检查 imageId 与地域",
    ),
    (
        "InvalidTOSBucket.NotFound",
        Class::NotFound,
        "The bucket does not exist; create it, or correct forProvider.tosBucket / TOS 桶不存在，请创建或修改 tosBucket",
    ),
    (
        "OperationDenied.ResourceLocked",
        Class::Busy,
        "Another operation has the image locked; it is tried again / 镜像正被其他操作锁定，将自动重试",
    ),
    // Gateway
    ("MissingParameter*", Class::Invalid, "Give the parameter that the message names / 请补充提示中的参数"),
    (
        "MissingRequestInfo",
        Class::Invalid,
        "The request was not complete; check proxies on the way / 请求不完整，请检查中间代理",
    ),
    (
        "MissingAuthenticationToken",
        Class::Credentials,
        "The request came without a signature; check proxies on the way / 缺少签名，请检查中间代理",
    ),
    (
        "MissingSignature",
        Class::Credentials,
        "The request came without a signature; check proxies on the way / 缺少签名，请检查中间代理",
    ),
    (
        "InvalidTimestamp",
        Class::ClockSkew,
        "The clock of the operator's node and Volcengine's differ too much; correct the node's clock / 节点时钟与火山引擎相差过大，请校时",
    ),
    (
        "ServiceNotFound",
        Class::Unlisted,
        "The gateway does not know the service: check the endpoint, and acep.serviceName / 网关不识别该服务，请检查 endpoint 与 serviceName",
    ),
    (
        "InvalidActionOrVersion",
        Class::Unlisted,
        "The gateway does not know the call: check the endpoint / 网关不识别该接口，请检查 endpoint",
    ),
    (
        "InvalidAccessKey",
        Class::Credentials,
        "The accessKeyId is not known; correct the Secret / accessKeyId 不存在，请修改 Secret",
    ),
    (
        "SignatureDoesNotMatch",
        Class::Credentials,
        "The accessKeySecret does not fit the accessKeyId; correct the Secret / accessKeySecret 与 accessKeyId 不匹配，请修改 Secret",
    ),
    (
        "InvalidAuthorization",
        Class::Credentials,
        "The signature cannot be read; check the keys in the Secret / 签名无法识别，请检查 Secret",
    ),
    (
        "InvalidCredential*",
        Class::Credentials,
        "The credentials are not accepted; correct the Secret / 凭证无效，请修改 Secret",
    ),
    (
        "InvalidSecurityToken*",
        Class::Credentials,
        "The security token is wrong or has expired; renew it in the Secret / securityToken 无效或已过期，请更新 Secret",
    ),
    (
        "ExpiredToken*",
        Class::Credentials,
        "The security token has expired; renew it in the Secret / securityToken 已过期，请更新 Secret",
    ),
    (
        "RequestExpired",
        Class::ClockSkew,
        "The request came too late: check the node's clock / 请求已过期，请检查节点时钟",
    ),
    ("LackPolicy", Class::Permission, "Allow the user this call in IAM / 请在 IAM 中授权此操作"),
    ("AccessDenied*", Class::Permission, "Allow the user this call in IAM / 请在 IAM 中授权此操作"),
    (
        "*FlowLimit*",
        Class::Throttled,
        "Too many requests of this account; the operator waits / 请求过于频繁，将自动等待",
    ),
    (
        "Throttling*",
        Class::Throttled,
        "Too many requests of this account; the operator waits / 请求过于频繁，将自动等待",
    ),
    (
        "RequestLimitExceeded",
        Class::Throttled,
        "Too many requests of this account; the operator waits / 请求过于频繁，将自动等待",
    ),
    (
        "RequestThrottled*",
        Class::Throttled,
        "Too many requests of this account; the operator waits / 请求过于频繁，将自动等待",
    ),
    (
        "TooManyRequests*",
        Class::Throttled,
        "Too many requests of this account; the operator waits / 请求过于频繁，将自动等待",
    ),
    (
        "QuotaExceeded*",
        Class::Quota,
        "A quota is used up: delete what is not needed, or ask for more; it is tried again / 配额已用尽，请清理或申请提升，稍后自动重试",
    ),
    (
        "InternalError",
        Class::Unavailable,
        "A fault at Volcengine; it is tried again / 火山引擎内部错误，将自动重试",
    ),
    (
        "InternalServiceTimeout",
        Class::Unavailable,
        "A fault at Volcengine; it is tried again / 火山引擎内部超时，将自动重试",
    ),
    (
        "InternalServiceError",
        Class::Unavailable,
        "A fault at Volcengine; it is tried again / 火山引擎内部错误，将自动重试",
    ),
    (
        "MethodNotAllowed",
        Class::Unlisted,
        "The gateway does not take this method: check the endpoint / 网关不支持该方法，请检查 endpoint",
    ),
    // ACEP, document 1134303
    (
        "1000000",
        Class::Unavailable,
        "A fault at the cloud phone service; it is tried again / 云手机服务异常，将自动重试",
    ),
    ("1000001", Class::Invalid, "A parameter is wrong; correct forProvider / 参数有误，请修改 forProvider"),
    ("1000002", Class::Invalid, "A parameter is wrong; correct forProvider / 参数有误，请修改 forProvider"),
    ("1000003", Class::Invalid, "A parameter is wrong; correct forProvider / 参数有误，请修改 forProvider"),
    (
        "1000005",
        Class::Unlisted,
        "The service could not read the request; check proxies on the way / 服务无法解析请求，请检查中间代理",
    ),
    (
        "1000006",
        Class::Unlisted,
        "The service could not read the request; check proxies on the way / 服务无法解析请求，请检查中间代理",
    ),
    ("1000007", Class::Invalid, "A parameter is wrong; correct forProvider / 参数有误，请修改 forProvider"),
    (
        "2000000",
        Class::NotFound,
        "The product id is wrong: correct productId in the object or its account / productId 有误，请修改",
    ),
    (
        "2000002",
        Class::NotFound,
        "The product id is missing: give productId in the object or its account / 缺少 productId，请填写",
    ),
    (
        "2000005",
        Class::Permission,
        "The product is not approved yet; see the cloud phone console / 业务尚未审批通过，请查看云手机控制台",
    ),
    (
        "21340",
        Class::Unlisted,
        "The image build is abnormal; see the cloud phone console / 镜像构建异常，请查看云手机控制台",
    ),
    (
        "21341",
        Class::Unlisted,
        "The build process is abnormal; see the cloud phone console / 构建流程异常，请查看云手机控制台",
    ),
    ("21342", Class::NotFound, "The build task does not exist / 构建任务不存在"),
    (
        "21350",
        Class::Unavailable,
        "The image registry is abnormal; it is tried again / 镜像仓库异常，将自动重试",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_can_be_reached_and_has_both_languages() {
        for (code, class, hint) in TABLE {
            assert_eq!(
                lookup(&code.replace('*', "X")),
                (*class, *hint),
                "{code} is hidden by an earlier row"
            );
            let (english, chinese) =
                hint.split_once(" / ").unwrap_or_else(|| panic!("{code} has one language"));
            assert!(english.is_ascii() && !chinese.is_ascii(), "{code}");
        }
    }

    #[test]
    fn a_throttle_is_known_by_a_part_of_its_code() {
        for code in ["FlowLimitExceeded", "AccountFlowLimitExceeded", "Throttling.User"] {
            assert_eq!(lookup(code).0, Class::Throttled, "{code}");
        }
        assert_eq!(lookup("Something.New"), (Class::Unlisted, ""));
    }
}
