# Two regions. Both take submissions and serve viewers; one counts and publishes.

locals {
  tags = { Owner = var.owner, CostCentre = var.cost_centre }

  cidrs = { "us-east-1" = "10.20.0.0/16", "us-west-2" = "10.30.0.0/16" }

  # What every region is told about the home, itself included.
  homes = {
    "us-east-1" = { data_key_arn = module.east.data_key_arn, signing_key_arn = module.east.signing_key_arn, endpoints = module.east.endpoints }
    "us-west-2" = { data_key_arn = module.west.data_key_arn, signing_key_arn = module.west.signing_key_arn, endpoints = module.west.endpoints }
  }
}

module "east" {
  source = "../../modules/region"

  providers = {
    aws         = aws.east
    aws.archive = aws.archive_east
  }

  election           = var.election
  region             = "us-east-1"
  availability_zones = ["us-east-1a", "us-east-1b", "us-east-1c"]
  vpc_cidr           = local.cidrs["us-east-1"]
  peer_cidrs         = [local.cidrs["us-west-2"]]
  bus_peers          = { "us-west-2" = module.west.bus_host }

  writer_region      = var.writer_region
  home_region        = var.home_region
  home               = local.homes[var.home_region]
  replica_bucket_arn = module.west.bucket_arn

  hosts             = var.hosts
  zone_id           = var.zone_id
  origin_secret     = var.origin_secret
  distribution_arn  = var.results_distribution_arn
  object_lock_days  = var.object_lock_days
  images            = var.images["us-east-1"]
  functions         = lookup(var.functions, "us-east-1", null)
  release_pointer   = var.release_pointer
  receipt_key       = var.receipt_key
  root_keys         = var.root_keys
  suppression       = var.suppression
  shards            = var.shards
  prewarm           = var.prewarm
  administrators    = var.administrators
  alarm_subscribers = var.alarm_subscribers
  runbooks_url      = var.runbooks_url
  tags              = local.tags
}

module "west" {
  source = "../../modules/region"

  providers = {
    aws         = aws.west
    aws.archive = aws.archive_west
  }

  election           = var.election
  region             = "us-west-2"
  availability_zones = ["us-west-2a", "us-west-2b", "us-west-2c"]
  vpc_cidr           = local.cidrs["us-west-2"]
  peer_cidrs         = [local.cidrs["us-east-1"]]
  bus_peers          = { "us-east-1" = module.east.bus_host }

  writer_region      = var.writer_region
  home_region        = var.home_region
  home               = local.homes[var.home_region]
  replica_bucket_arn = module.east.bucket_arn
  signing_primary    = { arn = module.east.signing_key_arn }

  hosts             = var.hosts
  zone_id           = var.zone_id
  origin_secret     = var.origin_secret
  distribution_arn  = var.results_distribution_arn
  object_lock_days  = var.object_lock_days
  images            = var.images["us-west-2"]
  functions         = lookup(var.functions, "us-west-2", null)
  release_pointer   = var.release_pointer
  receipt_key       = var.receipt_key
  root_keys         = var.root_keys
  suppression       = var.suppression
  shards            = var.shards
  prewarm           = var.prewarm
  administrators    = var.administrators
  alarm_subscribers = var.alarm_subscribers
  runbooks_url      = var.runbooks_url
  tags              = local.tags
}
