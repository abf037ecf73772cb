output "distribution_arn" {
  description = "ARN of the distribution of pages: the regions' distribution_arn, so that it may read their buckets."
  value       = aws_cloudfront_distribution.results.arn
}

output "rules_store_arn" {
  description = "ARN of the key-value store of the edge's rules, for infra/edge's commands."
  value       = aws_cloudfront_key_value_store.rules.arn
}

output "web_acl_arn" {
  description = "ARN of the web ACL."
  value       = aws_wafv2_web_acl.edge.arn
}

output "alarm_topic_arn" {
  description = "ARN of the topic of the edge's alarms and the budget."
  value       = aws_sns_topic.alarms.arn
}
