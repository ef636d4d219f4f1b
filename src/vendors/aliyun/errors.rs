//! Alibaba Cloud's error codes: code → class and hint.
//!
//! Sources: the error tables of the CreateImageComponent and TagResources pages, the DescribeImageComponents and
//! DeleteImageComponent pages, those of CreateImagePipeline, DescribeImagePipelines and DeleteImagePipeline, those of
//! StartImagePipelineExecution, DescribeImagePipelineExecutions and CancelImagePipelineExecution, those of CopyImage,
//! CancelCopyImage, ModifyImageAttribute, DeleteImage, DeleteSnapshot and ModifyImageSharePermission, and the gateway's common
//! codes.

use crate::wire::{
    Class,
    table::{Row, row},
};

/// All rows: exact codes first where a family follows.
pub const TABLE: &[Row] = &[
    // CreateImageComponent, HTTP 400
    row(
        "InvalidCommand.Component",
        Class::Invalid,
        "Remove the component command from the content / 组件内容中不能引用组件命令，请删除",
    ),
    row(
        "InvalidName.Malformed",
        Class::Invalid,
        "Correct forProvider.name: 2 to 128 characters, first a letter or Chinese / 请修改 name：2~128 个字符，以字母或中文开头",
    ),
    row(
        "InvalidDescription.Malformed",
        Class::Invalid,
        "Correct forProvider.description: 2 to 256 characters, not beginning with http:// or https:// / 请修改 description：2~256 个字符",
    ),
    row(
        "InvalidSystemType.NotSupportedValue",
        Class::Invalid,
        "Use Linux or Windows as forProvider.systemType / systemType 只能是 Linux 或 Windows",
    ),
    row(
        "InvalidComponentType.NotSupportedValue",
        Class::Invalid,
        "Use Build or Test as forProvider.componentType / componentType 只能是 Build 或 Test",
    ),
    row(
        "InvalidContent.LengthExceeded",
        Class::Invalid,
        "Shorten forProvider.content to 16 KB / content 不能超过 16 KB",
    ),
    row(
        "InvalidImageTemplateCommandSize.ExceededMaxNumber",
        Class::Invalid,
        "Use fewer commands in content, build or test (at most 127) / content、build 或 test 中命令过多（最多 127 条）",
    ),
    row(
        "InvalidImageTemplateCommand.NotSupported",
        Class::Invalid,
        "Use only supported commands in forProvider.content / content 中有不支持的命令",
    ),
    row(
        "InvalidCommandContent.RUN",
        Class::Invalid,
        "Correct the RUN command in forProvider.content / 请修改 content 中的 RUN 命令",
    ),
    row(
        "InvalidCommandContent.ENV",
        Class::Invalid,
        "Correct the ENV command in forProvider.content / 请修改 content 中的 ENV 命令",
    ),
    row(
        "InvalidCommandContent.WORKDIR",
        Class::Invalid,
        "Correct the WORKDIR command in forProvider.content / 请修改 content 中的 WORKDIR 命令",
    ),
    row(
        "InvalidCommandContent.COPY",
        Class::Invalid,
        "Correct the COPY command in forProvider.content / 请修改 content 中的 COPY 命令",
    ),
    row(
        "InvalidCommandContent.USER",
        Class::Invalid,
        "Correct the USER command in forProvider.content / 请修改 content 中的 USER 命令",
    ),
    row(
        "InvalidCommandContent.CMD",
        Class::Invalid,
        "Correct the CMD command in forProvider.content / 请修改 content 中的 CMD 命令",
    ),
    row(
        "InvalidCommandContent.ENTRYPOINT",
        Class::Invalid,
        "Correct the ENTRYPOINT command in forProvider.content / 请修改 content 中的 ENTRYPOINT 命令",
    ),
    row("MissingParameter.Content", Class::Invalid, "Give forProvider.content / 请填写 content"),
    row("EmptyCommandContent.RUN", Class::Invalid, "Give the RUN command an argument / RUN 命令缺少内容"),
    row("EmptyCommandContent.ENV", Class::Invalid, "Give the ENV command an argument / ENV 命令缺少内容"),
    row(
        "EmptyCommandContent.LABEL",
        Class::Invalid,
        "Give the LABEL command an argument / LABEL 命令缺少内容",
    ),
    row("EmptyCommandContent.COPY", Class::Invalid, "Give the COPY command an argument / COPY 命令缺少内容"),
    row(
        "EmptyCommandContent.ENTRYPOINT",
        Class::Invalid,
        "Give the ENTRYPOINT command an argument / ENTRYPOINT 命令缺少内容",
    ),
    row("EmptyCommandContent.CMD", Class::Invalid, "Give the CMD command an argument / CMD 命令缺少内容"),
    row(
        "NotEmptyCommandContent.RESTART",
        Class::Invalid,
        "RESTART takes no argument; remove it / RESTART 命令不能有内容",
    ),
    row(
        "EmptyCommandContent.WORKDIR",
        Class::Invalid,
        "Give the WORKDIR command an argument / WORKDIR 命令缺少内容",
    ),
    row("EmptyCommandContent.USER", Class::Invalid, "Give the USER command an argument / USER 命令缺少内容"),
    row(
        "QuotaExceed.ImageComponent",
        Class::Quota,
        "Delete components that are not needed, or ask Alibaba Cloud for a higher quota; it is tried again from time to time / 镜像组件数量已达配额，请清理或申请提升配额，稍后会自动重试",
    ),
    row(
        "InvalidParameter.Content",
        Class::Invalid,
        "Correct forProvider.content: valid YAML with Tasks, or one command a line / 请修改 content：须为含 Tasks 的合法 YAML，或每行一条命令",
    ),
    row(
        "InvalidImage.OsTypeUnsupported",
        Class::Invalid,
        "The base image does not support image building; use another systemType / 基础镜像不支持镜像构建",
    ),
    row(
        "InvalidParameter.ComponentVersion",
        Class::Invalid,
        "Correct forProvider.componentVersion: major.minor.patch / 请修改 componentVersion：格式为 major.minor.patch",
    ),
    // CreateImageComponent, HTTP 403 and 404
    row(
        "InvalidComponentVersion.Exist",
        Class::Conflict,
        "Use another name or componentVersion, or take the existing one over with spec.import / 同名同版本的组件已存在，请更换名称或版本，或用 spec.import 接管",
    ),
    row(
        "InvalidOperation.NoPermissionCreateServiceLinkedRole",
        Class::Permission,
        "Allow the RAM user ram:CreateServiceLinkedRole, or let an administrator call the API once / 请授权 RAM 用户创建服务关联角色，或由管理员先调用一次",
    ),
    row(
        "InvalidResourceGroup.NotFound",
        Class::NotFound,
        "Create the resource group, or correct forProvider.resourceGroupId / 资源组不存在，请创建或修改 resourceGroupId",
    ),
    row(
        "NotSupportedCommand.FROM",
        Class::Invalid,
        "A component's content must not have FROM; remove it / 组件内容不支持 FROM 命令，请删除",
    ),
    // Tags, at creation and later: TagResources
    row(
        "NumberExceed.Tags",
        Class::Invalid,
        "Shorten forProvider.tag: 20 entries, one less where the operator adds its own / tag 不能超过 20 个（Operator 自己添加标签的类型为 19 个），请减少",
    ),
    row(
        "InvalidTagCount",
        Class::Invalid,
        "Shorten forProvider.tag: 20 entries, one less where the operator adds its own / tag 不能超过 20 个（Operator 自己添加标签的类型为 19 个），请减少",
    ),
    row(
        "InvalidTagKey.Malformed",
        Class::Invalid,
        "Correct the keys in forProvider.tag: 1 to 128 characters, not beginning with aliyun or acs:, without http:// and https:// / 请修改 tag 的键：1~128 个字符，不能以 aliyun 或 acs: 开头，不能包含 http:// 或 https://",
    ),
    row(
        "InvalidTagValue.Malformed",
        Class::Invalid,
        "Correct the values in forProvider.tag: at most 128 characters, without http:// and https:// / 请修改 tag 的值：最多 128 个字符，不能包含 http:// 或 https://",
    ),
    row(
        "Duplicate.TagKey",
        Class::Invalid,
        "Give each key in forProvider.tag once / tag 的键不能重复，请修改",
    ),
    row(
        "OperationDenied.QuotaExceed",
        Class::Quota,
        "It has too many tags with those that others set; remove some; it is tried again from time to time / 标签数已达上限，请删除部分标签，稍后会自动重试",
    ),
    row("InvalidResourceId.NotFound", Class::NotFound, "The component does not exist / 镜像组件不存在"),
    // DescribeImageComponents, DeleteImageComponent, idempotence
    row("InvalidImageComponent.NotFound", Class::NotFound, "The component does not exist / 镜像组件不存在"),
    row(
        "InvalidImageComponent.InUse",
        Class::Busy,
        "An image template or pipeline uses the component; remove it there first / 组件正被镜像模板或流水线使用，请先解除引用",
    ),
    row(
        "IdempotentParameterMismatch",
        Class::TokenReused,
        "The same token was sent before with other parameters / 相同的 ClientToken 曾以不同参数使用过",
    ),
    row(
        "InvalidRegionId.NotFound",
        Class::Invalid,
        "Correct forProvider.regionId, or the account's regionId / 地域不存在，请修改 regionId",
    ),
    // CreateImagePipeline, DescribeImagePipelines, DeleteImagePipeline, and what their steps say
    row(
        "QuotaExceed.ImagePipeline",
        Class::Quota,
        "Delete pipelines that are not needed, or ask Alibaba Cloud for a higher quota; it is tried again from time to time / 镜像流水线数量已达配额，请清理或申请提升配额，稍后会自动重试",
    ),
    // CopyImage, CancelCopyImage, ModifyImageAttribute, DeleteImage, DeleteSnapshot
    row(
        "InvalidImageName.Duplicated",
        Class::Conflict,
        "Use another name (destinationImageName, or imageOptions.imageName of a pipeline), or take the existing image over with spec.import: names are unique in a region / 该地域已有同名镜像，请更换名称（destinationImageName，或流水线的 imageOptions.imageName），或用 spec.import 接管",
    ),
    row(
        "InvalidImageName.Malformed",
        Class::Invalid,
        "Correct the name of the image: 2 to 64 characters in imageOptions.imageName of a pipeline, 2 to 128 in destinationImageName of a copy / 请修改镜像名称：流水线的 imageOptions.imageName 为 2~64 个字符，复制的 destinationImageName 为 2~128 个字符",
    ),
    row(
        "IncorrectImageStatus",
        Class::Busy,
        "The image is not Available yet; it is tried again / 镜像尚未就绪，将自动重试",
    ),
    row(
        "SourceRegion.NotFound",
        Class::Invalid,
        "Correct forProvider.regionId, or the account's regionId / 源地域不存在，请修改 regionId",
    ),
    row(
        "DestinationRegion.NotFound",
        Class::Invalid,
        "Correct forProvider.destinationRegionId / 目标地域不存在，请修改 destinationRegionId",
    ),
    row(
        "InvalidParameter.EncryptedIllegal",
        Class::Invalid,
        "Set forProvider.encrypted: true, which kmsKeyId needs / 使用 kmsKeyId 须设置 encrypted: true",
    ),
    row(
        "InvalidParameter.KmsNotEnabled",
        Class::Permission,
        "Activate KMS for the account in the region of the copy / 请在目标地域为账号开通 KMS",
    ),
    row(
        "InvalidParameter.KMSKeyId.NotFound",
        Class::NotFound,
        "Create the key in the region of the copy, or correct forProvider.kmsKeyId / 目标地域没有该密钥，请创建或修改 kmsKeyId",
    ),
    row(
        "OperationDenied.ImageCopyConflict",
        Class::Busy,
        "Another call copies the same image at this moment; it is tried again / 同一镜像正被另一请求复制，将自动重试",
    ),
    row(
        "OperationDenied.ImageCopying",
        Class::Busy,
        "The image is being copied; it is tried again / 镜像正在复制，将自动重试",
    ),
    row(
        "OperationDenied.CommunityImage",
        Class::Invalid,
        "A community image cannot be copied: copy it before it is published, or copy another / 社区镜像不能复制，请在发布前复制，或改用其他镜像",
    ),
    row(
        "OperationDenied.SameRegionOnly",
        Class::Invalid,
        "An image that others share can be copied within its region only: set destinationRegionId to that, and copy the copy / 共享镜像只能在同一地域内复制，请先在该地域复制，再复制副本",
    ),
    row(
        "OperationDenied.NonCompliantDestinationRegion",
        Class::Invalid,
        "The account may not copy to this region; use another destinationRegionId / 不允许复制到该地域，请修改 destinationRegionId",
    ),
    row(
        "OperationDeined.EncryptedSnapshot",
        Class::Invalid,
        "The image has an encrypted snapshot, so that it cannot be copied or shared so; use another / 镜像含加密快照，不能如此复制或共享，请改用其他镜像",
    ),
    row(
        "InvalidEncrypted.NotMatchDiskDefaultEncryption",
        Class::Invalid,
        "The region encrypts disks by default; set forProvider.encrypted: true / 该地域默认加密云盘，请设置 encrypted: true",
    ),
    row(
        "Forbbiden",
        Class::Permission,
        "The RAM user may not use the default resource group; give forProvider.resourceGroupId, or allow it / RAM 用户无默认资源组权限，请填写 resourceGroupId 或授权",
    ),
    row(
        "Account.Arrearage",
        Class::Permission,
        "The account has an overdue payment; settle it in the console / 账号欠费，请在控制台结清",
    ),
    row(
        "QuotaExceed.Image",
        Class::Quota,
        "Delete images in the region of the copy that are not needed, or ask Alibaba Cloud for a higher quota; it is tried again from time to time / 目标地域镜像数量已达配额，请清理或申请提升配额，稍后会自动重试",
    ),
    row(
        "QuotaExceed.Snapshot",
        Class::Quota,
        "Delete snapshots in the region of the copy that are not needed, or ask Alibaba Cloud for a higher quota; it is tried again from time to time / 目标地域快照数量已达配额，请清理或申请提升配额，稍后会自动重试",
    ),
    row(
        "SizeExceed.Image",
        Class::Invalid,
        "The image is too large to be copied; copy a smaller one / 镜像过大，不能复制，请改用较小的镜像",
    ),
    row(
        "RegionNotSupportCopy",
        Class::Invalid,
        "One of the regions does not support copying; use another / 源地域或目标地域不支持复制镜像，请更换",
    ),
    row(
        "IncorrectDestinationRegion",
        Class::Invalid,
        "Correct forProvider.destinationRegionId: the image cannot be copied there / 不能复制到该地域，请修改 destinationRegionId",
    ),
    row(
        "InvalidOperation.VhdImageUnsupported",
        Class::Invalid,
        "An image of this format cannot be copied; use another / 该格式的镜像不能复制，请更换",
    ),
    row(
        "InvalidOperation.CloudBoxImageCopyUnsupported",
        Class::Invalid,
        "An image of a CloudBox cannot be copied; use another / 云盒镜像不能复制，请更换",
    ),
    row(
        "InvalidEncrypted.NotMatchKmsKeyId",
        Class::Invalid,
        "Set forProvider.encrypted: true, which kmsKeyId needs / 使用 kmsKeyId 须设置 encrypted: true",
    ),
    row(
        "InvalidSnapshot.TooOld",
        Class::Invalid,
        "The image has a snapshot of before 2013-07-15, so that it cannot be copied; use another / 镜像含 2013-07-15 之前的快照，不能复制，请更换",
    ),
    row(
        "OperationDenied",
        Class::Invalid,
        "The image has a snapshot that no image may be made of, so that it cannot be copied; use another / 镜像所含快照不允许创建镜像，不能复制，请更换",
    ),
    row(
        "OperationDenied.NotPublished",
        Class::Invalid,
        "The marketplace image that this one was made of is not published in the region of the copy; use another destinationRegionId / 该镜像所基于的云市场镜像未在目标地域发布，请修改 destinationRegionId",
    ),
    row(
        "OperationDenied.NotAuthorized",
        Class::Permission,
        "Subscribe to the marketplace image that this one was made of, with this account / 请用该账号订阅该镜像所基于的云市场镜像",
    ),
    row(
        "OperationDenied.EncryptSnapshotAcrossRegion",
        Class::Invalid,
        "The vendor does not encrypt this image on its way to another region: set forProvider.encrypted: false, or copy it within its region first / 该镜像跨地域复制时不能加密，请设置 encrypted: false，或先在同一地域复制",
    ),
    row(
        "InvalidParameter.KMSKeyId.KMSUnauthorized",
        Class::Permission,
        "Authorize ECS to use KMS, in the region of the copy / 请在目标地域授权 ECS 访问 KMS",
    ),
    row(
        "InvalidParameter.KMSKeyId.CMKNotEnabled",
        Class::Permission,
        "Enable the key in KMS, or give another forProvider.kmsKeyId / 密钥未启用，请在 KMS 中启用，或修改 kmsKeyId",
    ),
    row(
        "InvalidParameter.KMSKeyId.CMKUnauthorized",
        Class::Permission,
        "Authorize ECS to tag the key in KMS, or give another forProvider.kmsKeyId / 请授权 ECS 为该密钥添加标签，或修改 kmsKeyId",
    ),
    row(
        "InvalidParameter.DataEncryptedKeyCreateFailed",
        Class::Permission,
        "KMS could not make a data key of the key: look at its state and policy in KMS, or give another forProvider.kmsKeyId / KMS 无法用该密钥生成数据密钥，请检查密钥的状态与策略，或修改 kmsKeyId",
    ),
    row(
        "OperationDenied.KmsServiceUnauthorized",
        Class::Permission,
        "Authorize the account to use KMS / 请授权账号使用 KMS",
    ),
    row(
        "InvalidRegion.NotSupport",
        Class::Invalid,
        "The region does not encrypt with keys of one's own: take forProvider.kmsKeyId out, or use another region / 该地域不支持自有密钥加密，请去掉 kmsKeyId 或更换地域",
    ),
    row(
        "UserNotInTheWhiteList",
        Class::Permission,
        "Ask Alibaba Cloud to let the account encrypt with keys of its own, or take forProvider.kmsKeyId out / 账号未开通自有密钥加密，请申请开通，或去掉 kmsKeyId",
    ),
    row(
        "InvalidOperation.Conflict",
        Class::Busy,
        "Another operation on the image is under way; it is tried again / 镜像正在进行其他操作，将自动重试",
    ),
    row(
        "InvalidImageId.NotFound",
        Class::NotFound,
        "Create the image, or correct forProvider.imageId and regionId / 镜像不存在，请创建，或修改 imageId 与 regionId",
    ),
    row(
        "ImageCreatedNotFromCopy",
        Class::Busy,
        "The image is no copy, so that there is nothing to cancel / 该镜像不是复制而来，无可取消",
    ),
    row(
        "CancelNotSupported",
        Class::Busy,
        "The vendor cannot cancel this copy; it is waited for / 厂商不支持取消该复制，将等待其完成",
    ),
    row(
        "ImageUsingByInstance",
        Class::Busy,
        "Instances use the image: release them, or replace their system disks; it is tried again / 有实例正在使用该镜像，请释放实例或更换系统盘，将自动重试",
    ),
    row(
        "ImageUseShared",
        Class::Busy,
        "Stop sharing the image; it is tried again / 镜像仍在共享，请先取消共享，将自动重试",
    ),
    row(
        "ImageIsPublic",
        Class::Busy,
        "The image is published as a community image: take that back; it is tried again / 镜像已发布为社区镜像，请先下架，将自动重试",
    ),
    row(
        "ImageIsImporting",
        Class::Busy,
        "The image is being imported; it is tried again / 镜像正在导入，将自动重试",
    ),
    row(
        "ImageIsExporting",
        Class::Busy,
        "The image is being exported; it is tried again / 镜像正在导出，将自动重试",
    ),
    row(
        "InvalidStatus.ImageIsCreating",
        Class::Busy,
        "The image is still being created; it is tried again / 镜像仍在创建，将自动重试",
    ),
    row(
        "ImageStatus.NotAvailable",
        Class::Busy,
        "The image cannot be changed as it is, since it is not Available; it is tried again / 镜像尚未就绪，不能修改，将自动重试",
    ),
    row(
        "SnapshotCreatedImage",
        Class::Busy,
        "An image consists of the snapshot: delete that image first; it is tried again / 快照已用于创建镜像，请先删除该镜像，将自动重试",
    ),
    row(
        "SnapshotCreatedDisk",
        Class::Busy,
        "Disks were made of the snapshot: delete those, or the snapshot by force in the console; it is tried again / 快照已用于创建云盘，请删除云盘，或在控制台强制删除快照，将自动重试",
    ),
    row(
        "IncorrectDiskStatus.CreatingSnapshot",
        Class::Busy,
        "Another snapshot is being made of the disk; it is tried again / 云盘正在创建其他快照，将自动重试",
    ),
    row(
        "Operation.Conflict",
        Class::Busy,
        "Another operation is under way; it is tried again / 与其他操作冲突，将自动重试",
    ),
    row(
        "InvalidOperation.RelatedSnapshotNotFinished",
        Class::Busy,
        "A snapshot that this one belongs to is not finished; it is tried again / 关联的快照尚未完成，将自动重试",
    ),
    row(
        "InvalidOperation.DeleteSharedSnapshotUnsupported",
        Class::Busy,
        "The snapshot is shared: take that back in the console; it is tried again / 快照已共享，请先在控制台取消共享，将自动重试",
    ),
    row(
        "InvalidOperation.ResourceManagedByCloudProduct",
        Class::Invalid,
        "Another product of Alibaba Cloud manages this: it can be deleted there only / 该资源由其他云产品管理，只能在该产品中删除",
    ),
    row("InvalidSnapshotId.NotFound", Class::NotFound, "The snapshot does not exist / 快照不存在"),
    row(
        "IdempotentProcessing",
        Class::Unavailable,
        "The first call with this token is still being dealt with; it is looked for what that makes, and asked again with the same token / 同一 ClientToken 的请求仍在处理，将查找其结果并以相同 ClientToken 重试",
    ),
    row(
        "IdempotenceParamNotMatch",
        Class::TokenReused,
        "The same token was sent before with other parameters / 相同的 ClientToken 曾以不同参数使用过",
    ),
    row(
        "InvalidParamter.Conflict",
        Class::TokenReused,
        "The same token was sent before with other parameters / 相同的 ClientToken 曾以不同参数使用过",
    ),
    // ModifyImageSharePermission
    row(
        "QuotaExceed.ShareImage",
        Class::Quota,
        "The account shares as many images as it may: unshare some, or ask Alibaba Cloud for a higher quota; it is tried again from time to time / 共享镜像数量已达配额，请清理或申请提升配额，稍后会自动重试",
    ),
    row(
        "QuotaExceed.ShareImageUser",
        Class::Quota,
        "The image is shared with as many accounts as it may be, with those that others added: take some out of shareWith, or ask Alibaba Cloud for a higher quota; it is tried again from time to time / 镜像的共享账号数已达配额（含他人添加的账号），请减少 shareWith 或申请提升配额，稍后会自动重试",
    ),
    row(
        "InvalidImageId.BidMismatch",
        Class::Invalid,
        "An account in forProvider.shareWith belongs to another site of Alibaba Cloud; take it out / shareWith 中有其他站点的账号，请移除",
    ),
    row(
        "OperationDenied.InvalidImageStatus",
        Class::Busy,
        "The image cannot be shared as it is, since it is deprecated or not Available; it is tried again / 镜像已弃用或尚未就绪，不能共享，将自动重试",
    ),
    row(
        "OperationDeined.FullImage",
        Class::Invalid,
        "An image of a whole instance cannot be published as a community image; take forProvider.community out / 整机镜像不能发布为社区镜像，请去掉 community",
    ),
    row(
        "InvalidOperation.ServiceKeyEncryptedImageUnsupported",
        Class::Invalid,
        "An image that is encrypted with the key of the service cannot be shared: copy it with a kmsKeyId of your own, and share the copy / 以服务密钥加密的镜像不能共享，请用自有 kmsKeyId 复制后再共享",
    ),
    row(
        "ImageName.ContainsSensitiveWords",
        Class::Invalid,
        "The image's name has words that a community image must not have; give it another name / 镜像名称含敏感词，不能发布为社区镜像，请修改名称",
    ),
    row(
        "ImageDescription.ContainsSensitiveWords",
        Class::Invalid,
        "The image's description has words that a community image must not have; give it another description / 镜像描述含敏感词，不能发布为社区镜像，请修改描述",
    ),
    row(
        "AssumeRoleError",
        Class::Permission,
        "To share an encrypted image, make the role AliyunECSShareEncryptImageDefaultRole for the account that it is shared with / 共享加密镜像需要为对方账号创建角色 AliyunECSShareEncryptImageDefaultRole",
    ),
    row(
        "Image.Public",
        Class::Invalid,
        "The image is published as a community image, and cannot be shared: set forProvider.community: false to take that back, or take shareWith out / 镜像已发布为社区镜像，不能共享：请设置 community: false 下架，或去掉 shareWith",
    ),
    row(
        "Image.NotPublic",
        Class::Busy,
        "The image is published no more; it is looked at again / 镜像已不是社区镜像，将重新查看",
    ),
    row(
        "PublicImageAgreement.NotSigned",
        Class::Permission,
        "Sign the agreement for community images in the console / 请先在控制台签署社区镜像协议",
    ),
    row(
        "CurrentRegion.NotSupportPublicImage",
        Class::Invalid,
        "The region has no community images; take forProvider.community out / 该地域不支持社区镜像，请去掉 community",
    ),
    row(
        "InvalidParameter.IsPublic",
        Class::Invalid,
        "An image cannot be published and shared in one call; take forProvider.community or shareWith out / 不能同时发布与共享镜像，请去掉 community 或 shareWith",
    ),
    row(
        "InvalidAccount.NotFound",
        Class::NotFound,
        "Correct forProvider.shareWith: an account in it does not exist / shareWith 中有不存在的账号，请修改",
    ),
    row(
        "InvalidAccount.Forbbiden",
        Class::Invalid,
        "Take the image's own account out of forProvider.shareWith: it is shared with others only / shareWith 中不能有镜像所属账号，请移除",
    ),
    // CreateImagePipeline, and what their steps say
    row(
        "InvalidImageFamily.Malformed",
        Class::Invalid,
        "Correct the image family: 2 to 128 characters / 请修改镜像族系名称：2~128 个字符",
    ),
    row(
        "InvalidBaseImageType.NotSupportedValue",
        Class::Invalid,
        "Use IMAGE, IMAGE_FAMILY or OSS as forProvider.baseImageType / baseImageType 只能是 IMAGE、IMAGE_FAMILY 或 OSS",
    ),
    row(
        "InvalidSystemDiskSize.NotSupportedValue",
        Class::Invalid,
        "Use 20 to 500 GiB as forProvider.systemDiskSize, and no less than the base image needs / systemDiskSize 须为 20~500 GiB，且不小于基础镜像",
    ),
    row(
        "InvalidInternetMaxBandwidthOut.NotSupportedValue",
        Class::Invalid,
        "Use 0 to 100 Mbit/s as forProvider.internetMaxBandwidthOut / internetMaxBandwidthOut 须为 0~100 Mbit/s",
    ),
    row(
        "InvalidAddAccountSize.ExceededMaxNumber",
        Class::Invalid,
        "Share with fewer accounts at once / 一次共享的账号过多，请减少",
    ),
    row(
        "InvalidToRegionIdSize.ExceededMaxNumber",
        Class::Invalid,
        "Distribute to fewer regions at once / 一次分发的地域过多，请减少",
    ),
    row(
        "InvalidBuildContent.LengthExceeded",
        Class::Invalid,
        "Shorten the steps to 16 KB, or move some of them into components / 构建步骤不能超过 16 KB，请精简或移入组件",
    ),
    row(
        "InvalidParameterCombination",
        Class::Invalid,
        "Correct forProvider: these parameters cannot be given together / 参数组合无效，请修改 forProvider",
    ),
    row(
        "InvalidImage.ImageOwnerAliasUnsupported",
        Class::Invalid,
        "Use another base image: what is built of this one cannot be distributed / 该基础镜像构建的镜像不能分发，请更换",
    ),
    row(
        "InvalidImage.NotSupportRepair",
        Class::Invalid,
        "Take forProvider.repairMode out, or use another base image / 该镜像不支持修复，请去掉 repairMode 或更换基础镜像",
    ),
    row(
        "InvalidImageComponent.NotSupported",
        Class::Invalid,
        "Use components that are for the base image's operating system, and build components to build / 组件不适用于该基础镜像，请更换",
    ),
    row(
        "InvalidParameter.BuildContent",
        Class::Invalid,
        "Correct the steps that build: what the vendor says is wrong with them is in the message / 请修改构建步骤，原因见厂商消息",
    ),
    row(
        "InvalidParameter.TestContent",
        Class::Invalid,
        "Correct the steps that test: what the vendor says is wrong with them is in the message / 请修改测试步骤，原因见厂商消息",
    ),
    row(
        "InvalidParameter.ImportImageOptions*",
        Class::Invalid,
        "Correct forProvider.importImageOptions: the message names the field / 请修改 importImageOptions，字段见厂商消息",
    ),
    row(
        "ImagePipeline.NotSupportWindowsInstance",
        Class::Invalid,
        "Use a base image of Linux, or components that are for Windows / 流水线不支持该 Windows 实例，请更换基础镜像",
    ),
    row(
        "InvalidOperation.OSSObjectIsImporting",
        Class::Busy,
        "The disk file is being imported by somebody else; it is tried again / 磁盘文件正在被导入，稍后自动重试",
    ),
    row(
        "DuplicatedCommand.FROM",
        Class::Invalid,
        "Remove FROM from the steps: the base image is forProvider.baseImage / 步骤中不能有 FROM，请删除，基础镜像由 baseImage 指定",
    ),
    row(
        "InvalidCommandOrder.FROM",
        Class::Invalid,
        "Remove FROM from the steps: the base image is forProvider.baseImage / 步骤中不能有 FROM，请删除，基础镜像由 baseImage 指定",
    ),
    row(
        "InvalidCommandContent.FROM",
        Class::Invalid,
        "Remove FROM from the steps: the base image is forProvider.baseImage / 步骤中不能有 FROM，请删除，基础镜像由 baseImage 指定",
    ),
    row(
        "InvalidParameter.RepairMode",
        Class::Invalid,
        "Use Standard, All or Customized as forProvider.repairMode / repairMode 只能是 Standard、All 或 Customized",
    ),
    row(
        "InvalidParameter.NvmeSupport",
        Class::Invalid,
        "Use supported, unsupported or auto as forProvider.imageOptions.nvmeSupport / nvmeSupport 只能是 supported、unsupported 或 auto",
    ),
    row(
        "InvalidImageOptions.Description",
        Class::Invalid,
        "Correct forProvider.imageOptions.description: 2 to 256 characters, not beginning with http:// or https:// / 请修改 imageOptions.description：2~256 个字符",
    ),
    row(
        "InvalidImportImageOptionsDiskDeviceMappings.LengthLimitExceeded",
        Class::Invalid,
        "Give at most 17 disks in importImageOptions / importImageOptions 中最多 17 块磁盘",
    ),
    row(
        "InvalidOperation.DiskImageSizeExceeded",
        Class::Invalid,
        "Use 1 to 2048 GiB as the size of each disk in importImageOptions, and files no larger / importImageOptions 中每块磁盘须为 1~2048 GiB，文件不能更大",
    ),
    row(
        "InvalidImportImageOptionsDiskDeviceMappingsOSSObject.NotFound",
        Class::NotFound,
        "The disk file is not in its bucket in this region: put it there, or correct importImageOptions / 该地域的存储桶中没有此磁盘文件，请上传，或修改 importImageOptions",
    ),
    row(
        "InvalidOSSObject.NotAuthorized",
        Class::Permission,
        "Let the role of importImageOptions read the disk file / 请授权 importImageOptions 中的角色读取磁盘文件",
    ),
    row(
        "InvalidOSSObject.NeedRestore",
        Class::NotFound,
        "The disk file is archived: restore it in OSS; it is tried again from time to time / 磁盘文件已归档，请在 OSS 中解冻，稍后会自动重试",
    ),
    row(
        "InvalidOSSObject.*",
        Class::Invalid,
        "Correct the bucket or the file in importImageOptions, or let the role read it / 请修改 importImageOptions 中的 Bucket 或文件，或为角色授权",
    ),
    row(
        "InvalidImage.NotFound",
        Class::NotFound,
        "Create or share the base image in this region, or correct forProvider.baseImage / 该地域没有此基础镜像，请创建、共享或修改 baseImage",
    ),
    row(
        "ImageComponent.NotFound",
        Class::NotFound,
        "Create the component that a step names in this region, or correct the step / 步骤引用的组件在该地域不存在，请创建或修改步骤",
    ),
    // StartImagePipelineExecution, DescribeImagePipelineExecutions, CancelImagePipelineExecution
    row(
        "InvalidImagePipeline.NotFound",
        Class::NotFound,
        "The pipeline does not exist in this region: create it, or correct forProvider.imagePipelineId or regionId / 该地域没有此镜像流水线，请创建，或修改 imagePipelineId 与 regionId",
    ),
    row(
        "InvalidImagePipeline.BaseImageNotFound",
        Class::NotFound,
        "The pipeline's base image is gone: create or share it in this region, or make a pipeline with another / 流水线的基础镜像不存在，请创建或共享，或新建流水线",
    ),
    row(
        "InvalidImagePipeline.OSSObjectNotFound",
        Class::NotFound,
        "The pipeline's disk file is not in its bucket: put it there, or make a pipeline with another / 流水线的磁盘文件不存在，请上传，或新建流水线",
    ),
    row(
        "InvalidImagePipeline.OSSObjectNeedRestore",
        Class::NotFound,
        "The pipeline's disk file is archived: restore it in OSS; it is tried again from time to time / 流水线的磁盘文件已归档，请在 OSS 中解冻，稍后会自动重试",
    ),
    row(
        "InvalidImagePipeline.OSSObjectNotAuthorized",
        Class::Permission,
        "Let the role of the pipeline's importImageOptions read the disk file / 请授权流水线的角色读取磁盘文件",
    ),
    row(
        "InvalidOperation.NoRightAccessOSS",
        Class::Permission,
        "Let the role of the pipeline's importImageOptions read the bucket / 请授权流水线的角色访问存储桶",
    ),
    row(
        "InvalidInstanceType.NotFound",
        Class::Invalid,
        "The pipeline's instanceType does not exist in this region: make a pipeline with another / 该地域没有流水线的 instanceType，请新建流水线",
    ),
    row(
        "InvalidVSwitchId.NotFound",
        Class::NotFound,
        "The pipeline's vSwitch is gone: create it, or make a pipeline with another / 流水线的交换机不存在，请创建，或新建流水线",
    ),
    row(
        "StartImagePipelineExecution.Failed",
        Class::Unavailable,
        "Alibaba Cloud could not start the run; it is tried again / 阿里云未能启动构建任务，将自动重试",
    ),
    row(
        "InvalidStatus.CancelFailed",
        Class::Busy,
        "The run cannot be cancelled any more; its end is waited for / 构建任务已无法取消，将等待其结束",
    ),
    row(
        "InvalidStatus.ImagePipelineExecution",
        Class::Busy,
        "The run cannot be cancelled in this phase; its end is waited for / 构建任务在当前阶段无法取消，将等待其结束",
    ),
    row("InvalidImagePipelineExecution.NotFound", Class::NotFound, "The run does not exist / 构建任务不存在"),
    row(
        "InvalidImagePipelineExecutionId.NotFound",
        Class::NotFound,
        "The run does not exist / 构建任务不存在",
    ),
    row(
        "InvalidParameter.Status",
        Class::Invalid,
        "The vendor does not know a status that it was asked for: report this as a bug of the operator / 查询状态无效，请报告为 Operator 的缺陷",
    ),
    row(
        "InvalidExecutionId.SizeExceeded",
        Class::Invalid,
        "The vendor was asked about too many runs at once: report this as a bug of the operator / 一次查询的构建任务过多，请报告为 Operator 的缺陷",
    ),
    row(
        "Invalid.NextToken",
        Class::Unavailable,
        "The list changed while it was read; it is read again / 读取期间列表已变化，将重新读取",
    ),
    row(
        "InvalidImagePipeline.HasRunningExecution",
        Class::Busy,
        "A run of the pipeline is under way, and only one can be at a time; its end is waited for / 镜像流水线正在执行，同一时间只能有一个，将等待其结束",
    ),
    row(
        "InvalidResourceType.NotFound",
        Class::Invalid,
        "Correct ecs.pipelineResourceType of the account: the vendor does not know this type of resources / 资源类型不存在，请修改账号的 ecs.pipelineResourceType",
    ),
    // Gateway
    row(
        "Throttling*",
        Class::Throttled,
        "Too many requests of this account; the operator waits / 请求过于频繁，将自动等待",
    ),
    row(
        "InvalidTimeStamp.*",
        Class::ClockSkew,
        "The clock of the operator's node and Alibaba Cloud's differ by more than 15 minutes; correct the node's clock / 节点时钟与阿里云相差超过 15 分钟，请校时",
    ),
    row(
        "SignatureNonceUsed",
        Class::Unavailable,
        "A copy of the same request arrived before; check proxies on the way / 请求被重复发送，请检查中间代理",
    ),
    row(
        "SignatureDoesNotMatch",
        Class::Credentials,
        "The accessKeySecret does not fit the accessKeyId; correct the Secret / accessKeySecret 与 accessKeyId 不匹配，请修改 Secret",
    ),
    row(
        "IncompleteSignature",
        Class::Credentials,
        "The signature is not complete; check the keys in the Secret, and proxies on the way / 签名不完整，请检查 Secret 与中间代理",
    ),
    row(
        "InvalidAccessKeyId.*",
        Class::Credentials,
        "The accessKeyId is not known or disabled; correct the Secret / accessKeyId 不存在或已禁用，请修改 Secret",
    ),
    row(
        "InvalidSecurityToken.*",
        Class::Credentials,
        "The security token has expired or is wrong; renew it in the Secret / securityToken 已过期或有误，请更新 Secret",
    ),
    row(
        "MissingSecurityToken",
        Class::Credentials,
        "These keys need a securityToken; add it to the Secret / 该密钥需要 securityToken，请加入 Secret",
    ),
    row("NoPermission*", Class::Permission, "Allow the RAM user this call / 请为 RAM 用户授权此操作"),
    row("Forbidden*", Class::Permission, "Allow the RAM user this call / 请为 RAM 用户授权此操作"),
    row(
        "InvalidAccountStatus.*",
        Class::Permission,
        "The account is not in good standing (payment, activation); look at the console / 账号状态异常（欠费或未开通），请查看控制台",
    ),
    row(
        "MissingParameter*",
        Class::Invalid,
        "Give the parameter that the message names / 请补充提示中的参数",
    ),
    row(
        "InternalError",
        Class::Unavailable,
        "A fault at Alibaba Cloud; it is tried again / 阿里云内部错误，将自动重试",
    ),
    row(
        "ServiceUnavailable*",
        Class::Unavailable,
        "Alibaba Cloud is not available; it is tried again / 阿里云服务暂不可用，将自动重试",
    ),
    row(
        "UnknownError",
        Class::Unavailable,
        "A fault at Alibaba Cloud; it is tried again / 阿里云未知错误，将自动重试",
    ),
];

#[cfg(test)]
mod tests {
    #[test]
    fn every_row_can_be_reached_and_has_both_languages() {
        crate::wire::table::check(super::TABLE);
    }
}
