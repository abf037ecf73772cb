output "results_distribution_arn" {
  description = "Set the variable of the same name to this after the first apply, and apply again."
  value       = module.global.distribution_arn
}

output "names" {
  description = "Names of stream, tables, bucket and key by region; `tallystream setup --check` must agree."
  value       = { "us-east-1" = module.east.names, "us-west-2" = module.west.names }
}

output "rules_store_arn" {
  description = "The key-value store of the edge's rules."
  value       = module.global.rules_store_arn
}

output "function_arns" {
  description = "ARNs of the functions by region; the runbook of a move invokes latest."
  value       = { "us-east-1" = module.east.function_arns, "us-west-2" = module.west.function_arns }
}

output "archive_buckets" {
  description = "Buckets of logs in the second account, by region."
  value       = { "us-east-1" = module.east.archive_bucket, "us-west-2" = module.west.archive_bucket }
}

output "alarm_topic_arn" {
  description = "Topic of the edge's alarms and the budget."
  value       = module.global.alarm_topic_arn
}

output "web_acl_arn" {
  description = "The web ACL before pages and submissions."
  value       = module.global.web_acl_arn
}

output "counting" {
  description = "Whether each region counts and publishes. Exactly one does."
  value       = { "us-east-1" = module.east.counts, "us-west-2" = module.west.counts }
}

output "home_buckets" {
  description = "The bucket that each region uses. All use one region's."
  value       = { "us-east-1" = module.east.home_bucket, "us-west-2" = module.west.home_bucket }
}
