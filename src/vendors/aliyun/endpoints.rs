//! Where the ECS API of a region is: data, as the official SDK has it (`_endpoint_map` of alibabacloud_ecs20140526).

/// Regions whose host is not `ecs.{region}.aliyuncs.com`, sorted by region: finance and government clouds, and others that
/// share the host of a large region. An account of a region that moves sets `aliyun.ecs.endpoint`.
const HOSTS: &[(&str, &str)] = &[
    ("ap-northeast-2-pop", "ecs.aliyuncs.com"),
    ("cn-beijing-finance-pop", "ecs.aliyuncs.com"),
    ("cn-beijing-gov-1", "ecs.aliyuncs.com"),
    ("cn-beijing-nu16-b01", "ecs-cn-hangzhou.aliyuncs.com"),
    ("cn-edge-1", "ecs.cn-qingdao-nebula.aliyuncs.com"),
    ("cn-fujian", "ecs-cn-hangzhou.aliyuncs.com"),
    ("cn-haidian-cm12-c01", "ecs-cn-hangzhou.aliyuncs.com"),
    ("cn-hangzhou", "ecs-cn-hangzhou.aliyuncs.com"),
    ("cn-hangzhou-bj-b01", "ecs-cn-hangzhou.aliyuncs.com"),
    ("cn-hangzhou-finance", "ecs.aliyuncs.com"),
    ("cn-hangzhou-internal-prod-1", "ecs-cn-hangzhou.aliyuncs.com"),
    ("cn-hangzhou-internal-test-1", "ecs-cn-hangzhou.aliyuncs.com"),
    ("cn-hangzhou-internal-test-2", "ecs-cn-hangzhou.aliyuncs.com"),
    ("cn-hangzhou-internal-test-3", "ecs-cn-hangzhou.aliyuncs.com"),
    ("cn-hangzhou-test-306", "ecs-cn-hangzhou.aliyuncs.com"),
    ("cn-hongkong-finance-pop", "ecs.aliyuncs.com"),
    ("cn-huhehaote-nebula-1", "ecs.cn-qingdao-nebula.aliyuncs.com"),
    ("cn-north-2-gov-1", "ecs.aliyuncs.com"),
    ("cn-shanghai-et15-b01", "ecs-cn-hangzhou.aliyuncs.com"),
    ("cn-shanghai-et2-b01", "ecs-cn-hangzhou.aliyuncs.com"),
    ("cn-shanghai-finance-1", "ecs-cn-hangzhou.aliyuncs.com"),
    ("cn-shanghai-inner", "ecs.aliyuncs.com"),
    ("cn-shanghai-internal-test-1", "ecs-cn-hangzhou.aliyuncs.com"),
    ("cn-shenzhen-finance-1", "ecs-cn-hangzhou.aliyuncs.com"),
    ("cn-shenzhen-inner", "ecs.aliyuncs.com"),
    ("cn-shenzhen-st4-d01", "ecs-cn-hangzhou.aliyuncs.com"),
    ("cn-shenzhen-su18-b01", "ecs-cn-hangzhou.aliyuncs.com"),
    ("cn-wuhan", "ecs.aliyuncs.com"),
    ("cn-yushanfang", "ecs.aliyuncs.com"),
    ("cn-zhangbei", "ecs.aliyuncs.com"),
    ("cn-zhangbei-na61-b01", "ecs-cn-hangzhou.aliyuncs.com"),
    ("cn-zhangjiakou-na62-a01", "ecs.cn-zhangjiakou.aliyuncs.com"),
    ("cn-zhengzhou-nebula-1", "ecs.cn-qingdao-nebula.aliyuncs.com"),
    ("eu-west-1-oxs", "ecs.cn-shenzhen-cloudstone.aliyuncs.com"),
    ("rus-west-1-pop", "ecs.aliyuncs.com"),
];

/// The URL of the ECS API in `region`.
pub fn ecs(region: &str) -> String {
    match HOSTS.binary_search_by_key(&region, |(region, _)| region) {
        Ok(at) => format!("https://{}/", HOSTS[at].1),
        Err(_) => format!("https://ecs.{region}.aliyuncs.com/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_has_its_own_host_or_the_one_that_the_sdk_sends_it_to() {
        assert!(HOSTS.is_sorted_by(|one, other| one.0 < other.0), "they are searched as sorted");
        for (region, host) in HOSTS {
            assert_eq!(ecs(region), format!("https://{host}/"));
        }
        assert_eq!(ecs("cn-shenzhen"), "https://ecs.cn-shenzhen.aliyuncs.com/");
        assert_eq!(ecs("cn-shanghai-finance-1"), "https://ecs-cn-hangzhou.aliyuncs.com/");
    }
}
