module "global" {
  source = "../../modules/global"

  providers = {
    aws         = aws.east
    aws.archive = aws.archive_east
  }

  election    = var.election
  hosts       = var.hosts
  zone_id     = var.zone_id
  home_region = var.home_region

  regions = {
    "us-east-1" = {
      bucket_domain_name = module.east.bucket_domain_name
      ingest_dns_name    = module.east.ingest_balancer.dns_name
      ingest_zone_id     = module.east.ingest_balancer.zone_id
      ingest_alarm       = module.east.ingest_balancer.alarm
      live_dns_name      = module.east.live_balancer.dns_name
      live_zone_id       = module.east.live_balancer.zone_id
      live_eip_arns      = module.east.live_balancer.eip_arns
      failover_region    = "us-west-2"
    }
    "us-west-2" = {
      bucket_domain_name = module.west.bucket_domain_name
      ingest_dns_name    = module.west.ingest_balancer.dns_name
      ingest_zone_id     = module.west.ingest_balancer.zone_id
      ingest_alarm       = module.west.ingest_balancer.alarm
      live_dns_name      = module.west.live_balancer.dns_name
      live_zone_id       = module.west.live_balancer.zone_id
      live_eip_arns      = module.west.live_balancer.eip_arns
      failover_region    = "us-east-1"
    }
  }

  function_code = {
    results = file(var.edge_functions.results)
    ingest  = file(var.edge_functions.ingest)
  }

  origin_secret      = var.origin_secret
  administrators     = var.administrators
  alarm_subscribers  = var.alarm_subscribers
  runbooks_url       = var.runbooks_url
  monthly_budget_usd = var.monthly_budget_usd
  shield_advanced    = var.shield_advanced
  tags               = local.tags
}
