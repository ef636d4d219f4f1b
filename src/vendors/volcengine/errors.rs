//! Volcengine's error codes: code → class and hint. Numbers are the cloud phone's (ACEP) own codes.
//!
//! Sources: the error table of the ExportImage page, the gateway's common codes, and the cloud phone's error codes
//! (document 1134303).

use crate::wire::{
    Class,
    table::{Row, row},
};

/// All rows: exact codes first where a family follows.
pub const TABLE: &[Row] = &[
    // ExportImage
    row(
        "InvalidImageForExportImage.UnSupported",
        Class::Invalid,
        "Choose an image that can be exported: a custom image, not one from the marketplace or an encrypted one / 该镜像不支持导出，请更换",
    ),
    row(
        "InvalidImageStatus",
        Class::Busy,
        "The image is not available now; it is tried again when it may be / 镜像当前状态不支持导出，稍后自动重试",
    ),
    row(
        "InvalidTOSPrefix.Malformed",
        Class::Invalid,
        "Correct forProvider.tosPrefix: 1 to 30 letters and digits / 请修改 tosPrefix：1~30 位字母或数字",
    ),
    row(
        "InvalidTosPutObject.AccessDenied",
        Class::Permission,
        "Allow ECS to write to the bucket: tos:PutObject in the IAM policy of ECS / 请在 IAM 中授权 ECS tos:PutObject",
    ),
    row("MissingParameter.ImageId", Class::Invalid, "Give forProvider.imageId / 请填写 imageId"),
    row("MissingParameter.TOSBucket", Class::Invalid, "Give forProvider.tosBucket / 请填写 tosBucket"),
    row("MissingParameter.TOSPrefix", Class::Invalid, "Give forProvider.tosPrefix / 请填写 tosPrefix"),
    row(
        "InvalidImage.NotFound",
        Class::NotFound,
        "The image does not exist in the account's region; correct forProvider.imageId, or create it / 镜像不存在，请检查 imageId 与地域",
    ),
    row(
        "InvalidTOSBucket.NotFound",
        Class::NotFound,
        "The bucket does not exist; create it, or correct forProvider.tosBucket / TOS 桶不存在，请创建或修改 tosBucket",
    ),
    row(
        "OperationDenied.ResourceLocked",
        Class::Busy,
        "Another operation has the image locked; it is tried again / 镜像正被其他操作锁定，将自动重试",
    ),
    // Gateway
    row(
        "MissingParameter*",
        Class::Invalid,
        "Give the parameter that the message names / 请补充提示中的参数",
    ),
    row(
        "MissingRequestInfo",
        Class::Invalid,
        "The request was not complete; check proxies on the way / 请求不完整，请检查中间代理",
    ),
    row(
        "MissingAuthenticationToken",
        Class::Credentials,
        "The request came without a signature; check proxies on the way / 缺少签名，请检查中间代理",
    ),
    row(
        "MissingSignature",
        Class::Credentials,
        "The request came without a signature; check proxies on the way / 缺少签名，请检查中间代理",
    ),
    row(
        "InvalidTimestamp",
        Class::ClockSkew,
        "The clock of the operator's node and Volcengine's differ too much; correct the node's clock / 节点时钟与火山引擎相差过大，请校时",
    ),
    row(
        "ServiceNotFound",
        Class::Unlisted,
        "The gateway does not know the service: check the endpoint, and acep.serviceName / 网关不识别该服务，请检查 endpoint 与 serviceName",
    ),
    row(
        "InvalidActionOrVersion",
        Class::Unlisted,
        "The gateway does not know the call: check the endpoint / 网关不识别该接口，请检查 endpoint",
    ),
    row(
        "InvalidAccessKey",
        Class::Credentials,
        "The accessKeyId is not known; correct the Secret / accessKeyId 不存在，请修改 Secret",
    ),
    row(
        "SignatureDoesNotMatch",
        Class::Credentials,
        "The accessKeySecret does not fit the accessKeyId; correct the Secret / accessKeySecret 与 accessKeyId 不匹配，请修改 Secret",
    ),
    row(
        "InvalidAuthorization",
        Class::Credentials,
        "The signature cannot be read; check the keys in the Secret / 签名无法识别，请检查 Secret",
    ),
    row(
        "InvalidCredential*",
        Class::Credentials,
        "The credentials are not accepted; correct the Secret / 凭证无效，请修改 Secret",
    ),
    row(
        "InvalidSecurityToken*",
        Class::Credentials,
        "The security token is wrong or has expired; renew it in the Secret / securityToken 无效或已过期，请更新 Secret",
    ),
    row(
        "ExpiredToken*",
        Class::Credentials,
        "The security token has expired; renew it in the Secret / securityToken 已过期，请更新 Secret",
    ),
    row(
        "RequestExpired",
        Class::ClockSkew,
        "The request came too late: check the node's clock / 请求已过期，请检查节点时钟",
    ),
    row("LackPolicy", Class::Permission, "Allow the user this call in IAM / 请在 IAM 中授权此操作"),
    row("AccessDenied*", Class::Permission, "Allow the user this call in IAM / 请在 IAM 中授权此操作"),
    row(
        "*FlowLimit*",
        Class::Throttled,
        "Too many requests of this account; the operator waits / 请求过于频繁，将自动等待",
    ),
    row(
        "Throttling*",
        Class::Throttled,
        "Too many requests of this account; the operator waits / 请求过于频繁，将自动等待",
    ),
    row(
        "RequestLimitExceeded",
        Class::Throttled,
        "Too many requests of this account; the operator waits / 请求过于频繁，将自动等待",
    ),
    row(
        "RequestThrottled*",
        Class::Throttled,
        "Too many requests of this account; the operator waits / 请求过于频繁，将自动等待",
    ),
    row(
        "TooManyRequests*",
        Class::Throttled,
        "Too many requests of this account; the operator waits / 请求过于频繁，将自动等待",
    ),
    row(
        "QuotaExceeded*",
        Class::Quota,
        "A quota is used up: delete what is not needed, or ask for more; it is tried again / 配额已用尽，请清理或申请提升，稍后自动重试",
    ),
    row(
        "InternalError",
        Class::Unavailable,
        "A fault at Volcengine; it is tried again / 火山引擎内部错误，将自动重试",
    ),
    row(
        "InternalServiceTimeout",
        Class::Unavailable,
        "A fault at Volcengine; it is tried again / 火山引擎内部超时，将自动重试",
    ),
    row(
        "InternalServiceError",
        Class::Unavailable,
        "A fault at Volcengine; it is tried again / 火山引擎内部错误，将自动重试",
    ),
    row(
        "MethodNotAllowed",
        Class::Unlisted,
        "The gateway does not take this method: check the endpoint / 网关不支持该方法，请检查 endpoint",
    ),
    // ACEP, document 1134303
    row(
        "1000000",
        Class::Unavailable,
        "A fault at the cloud phone service; it is tried again / 云手机服务异常，将自动重试",
    ),
    row(
        "1000001",
        Class::Invalid,
        "A parameter is wrong; correct forProvider / 参数有误，请修改 forProvider",
    ),
    row(
        "1000002",
        Class::Invalid,
        "A parameter is wrong; correct forProvider / 参数有误，请修改 forProvider",
    ),
    row(
        "1000003",
        Class::Invalid,
        "A parameter is wrong; correct forProvider / 参数有误，请修改 forProvider",
    ),
    row(
        "1000005",
        Class::Unlisted,
        "The service could not read the request; check proxies on the way / 服务无法解析请求，请检查中间代理",
    ),
    row(
        "1000006",
        Class::Unlisted,
        "The service could not read the request; check proxies on the way / 服务无法解析请求，请检查中间代理",
    ),
    row(
        "1000007",
        Class::Invalid,
        "A parameter is wrong; correct forProvider / 参数有误，请修改 forProvider",
    ),
    row(
        "2000000",
        Class::NotFound,
        "The product id is wrong: correct productId in the object or its account / productId 有误，请修改",
    ),
    row(
        "2000002",
        Class::NotFound,
        "The product id is missing: give productId in the object or its account / 缺少 productId，请填写",
    ),
    row(
        "2000005",
        Class::Permission,
        "The product is not approved yet; see the cloud phone console / 业务尚未审批通过，请查看云手机控制台",
    ),
    row(
        "21340",
        Class::Unavailable,
        "The image build is abnormal; see the cloud phone console / 镜像构建异常，请查看云手机控制台",
    ),
    row(
        "21341",
        Class::Unavailable,
        "The build process is abnormal; see the cloud phone console / 构建流程异常，请查看云手机控制台",
    ),
    row("21342", Class::NotFound, "The build task does not exist / 构建任务不存在"),
    row(
        "21350",
        Class::Unavailable,
        "The image registry is abnormal; it is tried again / 镜像仓库异常，将自动重试",
    ),
];

#[cfg(test)]
mod tests {
    #[test]
    fn every_row_can_be_reached_and_has_both_languages() {
        crate::wire::table::check(super::TABLE);
    }
}
