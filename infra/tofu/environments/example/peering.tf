# A private way between the regions: the bus's gateways, and the endpoints of the
# election's home. Nothing of it touches the internet.

resource "aws_vpc_peering_connection" "east_west" {
  provider = aws.east

  vpc_id      = module.east.vpc.id
  peer_vpc_id = module.west.vpc.id
  peer_region = "us-west-2"
  auto_accept = false
  tags        = merge(local.tags, { Name = "tallystream-${var.election}", Election = var.election })
}

resource "aws_vpc_peering_connection_accepter" "east_west" {
  provider = aws.west

  vpc_peering_connection_id = aws_vpc_peering_connection.east_west.id
  auto_accept               = true
  tags                      = merge(local.tags, { Name = "tallystream-${var.election}", Election = var.election })
}

resource "aws_route" "east_to_west" {
  provider = aws.east

  route_table_id            = module.east.vpc.route_table_id
  destination_cidr_block    = module.west.vpc.cidr
  vpc_peering_connection_id = aws_vpc_peering_connection_accepter.east_west.id
}

resource "aws_route" "west_to_east" {
  provider = aws.west

  route_table_id            = module.west.vpc.route_table_id
  destination_cidr_block    = module.east.vpc.cidr
  vpc_peering_connection_id = aws_vpc_peering_connection_accepter.east_west.id
}
