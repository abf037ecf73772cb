package tofu

import (
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"tallystream/infra/check"
)

// everybody are the addresses of all.
var everybody = []string{"0.0.0.0/0", "::/0"}

func closed(d Deployment) []check.Finding {
	l := look{Deployment: d}
	l.each("resource", "aws_vpc", func(m *check.Module, b *check.Block) {
		for _, g := range m.Of("resource", "aws_default_security_group") {
			if argument(m, g.Body, "vpc_id") == b.Address()+".id" {
				return
			}
		}
		l.add(b.At, "%s: its default security group is open among its members", b.Address())
	})
	for _, typ := range []string{"aws_security_group", "aws_default_security_group"} {
		l.each("resource", typ, func(m *check.Module, b *check.Block) {
			for _, name := range []string{"ingress", "egress"} {
				if b.Body.Attributes[name] != nil || len(nested(m, b.Body, name)) > 0 {
					l.add(b.At, "%s: rules stand on their own, so that one line is one passage", b.Address())
				}
			}
		})
	}
	l.each("resource", "aws_security_group_rule", func(_ *check.Module, b *check.Block) {
		l.add(b.At, "%s: use aws_vpc_security_group_ingress_rule and _egress_rule", b.Address())
	})
	for _, way := range []string{"ingress", "egress"} {
		l.each("resource", "aws_vpc_security_group_"+way+"_rule", func(m *check.Module, b *check.Block) {
			l.rule(m, b, way)
		})
	}
	return l.found
}

func (l *look) rule(m *check.Module, b *check.Block, way string) {
	if argument(m, b.Body, "ip_protocol") != "tcp" || argument(m, b.Body, "from_port") == "" || argument(m, b.Body, "to_port") == "" {
		l.add(b.At, "%s: a rule names tcp and its ports", b.Address())
	}
	for _, name := range []string{"cidr_ipv4", "cidr_ipv6"} {
		if contains(everybody, argument(m, b.Body, name)) {
			door := way == "ingress" && argument(m, b.Body, "security_group_id") == "aws_security_group.live_balancer.id" &&
				argument(m, b.Body, "from_port") == "local.ports.https" && argument(m, b.Body, "to_port") == "local.ports.https"
			if !door {
				l.add(b.At, "%s: open to everybody; only viewers' door to the live balancer is", b.Address())
			}
		}
	}
}

func isolated(d Deployment) []check.Finding {
	l := look{Deployment: d}
	for _, typ := range []string{"aws_nat_gateway", "aws_egress_only_internet_gateway"} {
		l.each("resource", typ, func(_ *check.Module, b *check.Block) {
			l.add(b.At, "%s: services reach AWS through endpoints and nothing else", b.Address())
		})
	}
	l.each("resource", "aws_route", func(m *check.Module, b *check.Block) {
		all := contains(everybody, argument(m, b.Body, "destination_cidr_block")) || contains(everybody, argument(m, b.Body, "destination_ipv6_cidr_block"))
		if all && argument(m, b.Body, "route_table_id") != "aws_route_table.public.id" {
			l.add(b.At, "%s: a way to the internet from a private subnet", b.Address())
		}
	})
	l.each("resource", "aws_subnet", func(m *check.Module, b *check.Block) {
		if got := argument(m, b.Body, "map_public_ip_on_launch"); got != "" && got != "false" {
			l.add(b.At, "%s: gives public addresses", b.Address())
		}
	})
	l.each("resource", "aws_ecs_service", func(m *check.Module, b *check.Block) {
		l.want(m, b, []string{"false"}, "network_configuration", "assign_public_ip")
		l.want(m, b, []string{"false"}, "enable_execute_command")
		l.present(m, b, "network_configuration", "security_groups")
	})
	return l.found
}

func instances(d Deployment) []check.Finding {
	l := look{Deployment: d}
	for _, typ := range []string{"aws_instance", "aws_launch_template"} {
		l.each("resource", typ, func(m *check.Module, b *check.Block) {
			l.want(m, b, []string{"required"}, "metadata_options", "http_tokens")
			l.want(m, b, []string{"1"}, "metadata_options", "http_put_response_hop_limit")
			disks := nested(m, b.Body, "root_block_device")
			for _, mapping := range nested(m, b.Body, "block_device_mappings") {
				disks = append(disks, nested(m, mapping.Body, "ebs")...)
			}
			if len(disks) == 0 {
				l.add(b.At, "%s: it does not say that its disk is encrypted", b.Address())
			}
			for _, disk := range disks {
				if argument(m, disk.Body, "encrypted") != "true" {
					l.add(disk.At, "%s: a disk that is not encrypted", b.Address())
				}
			}
		})
	}
	return l.found
}

func tls(d Deployment) []check.Finding {
	l := look{Deployment: d}
	l.each("resource", "aws_lb_listener", func(m *check.Module, b *check.Block) {
		switch protocol := argument(m, b.Body, "protocol"); {
		case protocol == "HTTPS" || protocol == "TLS":
			if policy := resolved(m, b.Body, "ssl_policy"); !strings.HasPrefix(policy, "ELBSecurityPolicy-TLS13-1-") || strings.Contains(policy, "-1-0-") || strings.Contains(policy, "-1-1-") {
				l.add(b.At, "%s: ssl_policy is %q, want one of ELBSecurityPolicy-TLS13-1-2 or -1-3", b.Address(), policy)
			}
		case protocol == "TCP" && argument(m, b.Body, "load_balancer_arn") == "aws_lb.bus.arn":
			// internal; the nodes of the bus speak TLS themselves, checked below
		default:
			l.add(b.At, "%s: protocol %q is not encrypted", b.Address(), protocol)
		}
	})
	l.each("resource", "aws_cloudfront_distribution", func(m *check.Module, b *check.Block) {
		l.want(m, b, []string{"TLSv1.2_2021", "TLSv1.2_2025", "TLSv1.3_2025"}, "viewer_certificate", "minimum_protocol_version")
		for _, name := range []string{"default_cache_behavior", "ordered_cache_behavior"} {
			for _, behaviour := range nested(m, b.Body, name) {
				if got := argument(m, behaviour.Body, "viewer_protocol_policy"); got != "redirect-to-https" && got != "https-only" {
					l.add(behaviour.At, "%s: viewer_protocol_policy is %q", b.Address(), got)
				}
			}
		}
		for _, o := range nested(m, b.Body, "origin") {
			if custom := one(m, o.Body, "custom_origin_config"); custom != nil {
				protocols, _ := list(m, custom, "origin_ssl_protocols")
				if argument(m, custom, "origin_protocol_policy") != "https-only" || len(protocols) != 1 || protocols[0] != "TLSv1.2" {
					l.add(o.At, "%s: an origin that is not asked over TLS 1.2", b.Address())
				}
			}
		}
	})
	l.each("resource", "aws_s3_bucket_policy", func(m *check.Module, b *check.Block) {
		document := strings.TrimSuffix(strings.TrimPrefix(argument(m, b.Body, "policy"), "data.aws_iam_policy_document."), ".json")
		if !denies(m, document, "aws:SecureTransport") {
			l.add(b.At, "%s: it does not refuse what comes without TLS", b.Address())
		}
	})
	l.bus()
	return l.found
}

// bus demands TLS 1.3 in each section of the nodes' configuration that listens.
func (l *look) bus() {
	m := l.Modules[Region]
	a := m.Locals["bus_configuration"]
	if a == nil {
		l.found = append(l.found, check.Finding{Message: Region + ": there is no local.bus_configuration"})
		return
	}
	configuration := strings.Join(stringsOf(m, a), "\n")
	if listeners, secured := strings.Count(configuration, "listen: "), strings.Count(configuration, `min_version: "1.3"`); listeners == 0 || listeners != secured {
		l.add(a.SrcRange, "the bus listens in %d places, with TLS 1.3 in %d", listeners, secured)
	}
}

func denies(m *check.Module, document, variable string) bool {
	for _, b := range m.Of("data", "aws_iam_policy_document") {
		if b.Name != document {
			continue
		}
		for _, s := range nested(m, b.Body, "statement") {
			for _, c := range nested(m, s.Body, "condition") {
				if argument(m, s.Body, "effect") == "Deny" && argument(m, c.Body, "variable") == variable {
					return true
				}
			}
		}
	}
	return false
}

// resolved is an argument, or the local that it names.
func resolved(m *check.Module, body *hclsyntax.Body, name string) string {
	got := argument(m, body, name)
	if local, ok := strings.CutPrefix(got, "local."); ok && m.Locals[local] != nil {
		return text(m, m.Locals[local].Expr)
	}
	return got
}

// stringsOf are all strings in an attribute.
func stringsOf(m *check.Module, a *hclsyntax.Attribute) []string {
	var out []string
	_ = hclsyntax.VisitAll(a, func(n hclsyntax.Node) hcl.Diagnostics {
		if t, ok := n.(*hclsyntax.TemplateExpr); ok {
			out = append(out, text(m, t))
		}
		return nil
	})
	return out
}
