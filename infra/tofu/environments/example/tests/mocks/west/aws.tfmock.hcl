# What AWS would answer, where the modules look at it.

mock_data "aws_caller_identity" {
  defaults = {
    account_id = "111122223333"
  }
}

mock_data "aws_partition" {
  defaults = {
    partition = "aws"
  }
}

mock_data "aws_iam_policy_document" {
  defaults = {
    json = "{}"
  }
}

mock_resource "aws_acm_certificate" {
  defaults = {
    domain_validation_options = [{
      domain_name           = "name.example.org"
      resource_record_name  = "_1.name.example.org"
      resource_record_type  = "CNAME"
      resource_record_value = "_2.acm-validations.aws"
    }]
  }
}

mock_resource "aws_kms_replica_key" {
  defaults = {
    arn = "arn:aws:kms:us-west-2:111122223333:key/mrk-00000000000000000000000000000001"
  }
}

mock_resource "aws_kms_key" {
  defaults = {
    arn = "arn:aws:kms:us-west-2:111122223333:key/mrk-00000000000000000000000000000001"
  }
}

mock_resource "aws_vpc_endpoint" {
  defaults = {
    dns_entry = [{
      dns_name       = "*.vpce-1.service.vpce.amazonaws.com"
      hosted_zone_id = "Z1"
    }]
  }
}
