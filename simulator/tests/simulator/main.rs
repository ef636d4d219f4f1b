//! The simulator from outside: over the wire, as a vendor's clients see it.

mod admin;
mod aliyun_ecs;
mod aliyun_ecs_codes;
mod aliyun_images;
mod batchcompute;
mod faults;
mod image_builds;
mod image_pipelines;
mod program;
mod recorded;
mod support;
mod tls;
mod volcengine;
mod volcengine_codes;
mod zstack;
mod zstack_errors;
mod zstack_habits;
