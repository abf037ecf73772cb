# The edge's rules (infra/edge): a function for each host, and a key-value store
# that they read. Operators change the store without a deploy, so its keys are not
# kept here: closing a country or banning an address must not wait for a plan.

variable "function_code" {
  type = object({
    results = string
    ingest  = string
  })
  description = "Sources of the CloudFront functions by host, as infra/edge has them. STORE_ID in them becomes the store's identifier."

  validation {
    condition     = alltrue([for code in values(var.function_code) : length(code) > 0 && length(code) <= 10240])
    error_message = "function_code must be JavaScript of 1 to 10,240 bytes: CloudFront takes no more."
  }
}

resource "aws_cloudfront_key_value_store" "rules" {
  name    = "${local.name}-rules"
  comment = "Rules of the edge: geography, bans, closings. Read by the functions at each request."
}

resource "aws_cloudfront_function" "edge" {
  for_each = var.function_code

  name                         = "${local.name}-${each.key}"
  comment                      = "infra/edge, host ${each.key}"
  runtime                      = "cloudfront-js-2.0"
  publish                      = true
  code                         = replace(each.value, "STORE_ID", aws_cloudfront_key_value_store.rules.id)
  key_value_store_associations = [aws_cloudfront_key_value_store.rules.arn]
}
