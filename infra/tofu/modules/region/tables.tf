# The ledger and the control table. Not global tables: infra/README.md says why.

variable "warm_throughput" {
  type = object({
    reads  = number
    writes = number
  })
  description = "Units a second that the ledger takes from the first second on. A new table takes 12,000 and 4,000 and learns slowly; a night does not wait."
  default     = { reads = 12000, writes = 4000 }

  validation {
    condition     = var.warm_throughput.reads >= 12000 && var.warm_throughput.writes >= 4000
    error_message = "warm_throughput cannot be below what a new table has: 12000 reads, 4000 writes."
  }
}

resource "aws_dynamodb_table" "ledger" {
  name                        = local.ledger_name
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "pk"
  range_key                   = "sk"
  deletion_protection_enabled = true
  tags                        = local.tags

  attribute {
    name = "pk"
    type = "S"
  }

  attribute {
    name = "sk"
    type = "S"
  }

  warm_throughput {
    read_units_per_second  = var.warm_throughput.reads
    write_units_per_second = var.warm_throughput.writes
  }

  point_in_time_recovery {
    enabled                 = true
    recovery_period_in_days = 35
  }

  server_side_encryption {
    enabled     = true
    kms_key_arn = aws_kms_key.data.arn
  }

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_dynamodb_table" "control" {
  name                        = local.control_name
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "pk"
  range_key                   = "sk"
  deletion_protection_enabled = true
  tags                        = local.tags

  attribute {
    name = "pk"
    type = "S"
  }

  attribute {
    name = "sk"
    type = "S"
  }

  # Rows of workers that come and go. The ledger forgets nothing.
  ttl {
    enabled        = true
    attribute_name = "expires"
  }

  point_in_time_recovery {
    enabled                 = true
    recovery_period_in_days = 35
  }

  server_side_encryption {
    enabled     = true
    kms_key_arn = aws_kms_key.data.arn
  }

  lifecycle {
    prevent_destroy = true
  }
}
