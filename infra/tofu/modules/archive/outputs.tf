# Who has these writes to a bucket that takes it: deliverers try when they are told.

output "bucket" {
  description = "Name of the bucket, once those who deliver may."
  value       = aws_s3_bucket.archive.bucket
  depends_on  = [aws_s3_bucket_policy.archive]
}

output "arn" {
  description = "ARN of the bucket, once those who deliver may."
  value       = aws_s3_bucket.archive.arn
  depends_on  = [aws_s3_bucket_policy.archive]
}
