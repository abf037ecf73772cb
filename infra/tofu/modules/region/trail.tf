# Who did what: management events, every write to the bucket and the tables, and
# every signature, to the second account.

locals {
  trail_arn = "arn:${local.partition}:cloudtrail:${var.region}:${local.account}:trail/${local.name}"
}

resource "aws_cloudtrail" "this" {
  name                          = local.name
  s3_bucket_name                = module.archive.bucket
  s3_key_prefix                 = "trail"
  enable_log_file_validation    = true
  is_multi_region_trail         = false # each region has its own
  include_global_service_events = true
  tags                          = local.tags

  advanced_event_selector {
    name = "Management, with each use of a key"

    field_selector {
      field  = "eventCategory"
      equals = ["Management"]
    }
  }

  advanced_event_selector {
    name = "Writes to the published bucket"

    field_selector {
      field  = "eventCategory"
      equals = ["Data"]
    }

    field_selector {
      field  = "resources.type"
      equals = ["AWS::S3::Object"]
    }

    field_selector {
      field  = "readOnly"
      equals = ["false"]
    }

    field_selector {
      field       = "resources.ARN"
      starts_with = ["${aws_s3_bucket.published.arn}/"]
    }
  }

  advanced_event_selector {
    name = "Writes to the control table" # the ledger's entries are their own trail

    field_selector {
      field  = "eventCategory"
      equals = ["Data"]
    }

    field_selector {
      field  = "resources.type"
      equals = ["AWS::DynamoDB::Table"]
    }

    field_selector {
      field  = "readOnly"
      equals = ["false"]
    }

    field_selector {
      field  = "resources.ARN"
      equals = [aws_dynamodb_table.control.arn]
    }
  }
}
