package tofu

import (
	"strings"

	"tallystream/infra/alerts"
	"tallystream/infra/check"
)

func archive(d Deployment) []check.Finding {
	l := look{Deployment: d}
	l.each("resource", "", func(m *check.Module, b *check.Block) {
		if b.Name == "archive" && strings.HasPrefix(b.Type, "aws_s3_bucket") {
			l.want(m, b, []string{"aws.archive"}, "provider")
		}
	})
	l.each("resource", "aws_s3_bucket", func(m *check.Module, b *check.Block) {
		if b.Name != "archive" {
			return
		}
		condition := at(m, b.Body, "lifecycle", "precondition", "condition")
		if condition != "local.archive_account local.account" {
			l.add(b.At, "%s: no precondition that it is in a second account", b.Address())
		}
	})
	l.each("resource", "aws_vpc", func(m *check.Module, b *check.Block) {
		for _, f := range m.Of("resource", "aws_flow_log") {
			if argument(m, f.Body, "vpc_id") == b.Address()+".id" {
				return
			}
		}
		l.add(b.At, "%s: no flow log", b.Address())
	})
	l.each("resource", "aws_flow_log", func(m *check.Module, b *check.Block) {
		l.want(m, b, []string{"ALL"}, "traffic_type")
		l.want(m, b, []string{"${aws_s3_bucket.archive.arn}/flow"}, "log_destination")
	})
	l.each("resource", "aws_lb", func(m *check.Module, b *check.Block) {
		l.want(m, b, []string{"aws_s3_bucket.archive.id"}, "access_logs", "bucket")
		l.want(m, b, []string{"true"}, "access_logs", "enabled")
	})
	l.each("resource", "aws_cloudtrail", func(m *check.Module, b *check.Block) {
		l.want(m, b, []string{"aws_s3_bucket.archive.id"}, "s3_bucket_name")
		l.want(m, b, []string{"true"}, "enable_log_file_validation")
	})
	if len(d.Modules[Region].Of("resource", "aws_cloudtrail")) == 0 {
		l.found = append(l.found, check.Finding{Message: Region + ": there is no trail"})
	}
	l.each("resource", "aws_wafv2_web_acl", func(m *check.Module, b *check.Block) {
		for _, c := range m.Of("resource", "aws_wafv2_web_acl_logging_configuration") {
			destinations, _ := list(m, c.Body, "log_destination_configs")
			if argument(m, c.Body, "resource_arn") == b.Address()+".arn" && contains(destinations, "aws_s3_bucket.archive.arn") {
				return
			}
		}
		l.add(b.At, "%s: its log is not archived", b.Address())
	})
	l.each("resource", "aws_cloudfront_distribution", func(m *check.Module, b *check.Block) {
		a := m.Locals["distributions"]
		if a == nil || !strings.Contains(text(m, a.Expr), b.Address()+".arn") {
			l.add(b.At, "%s: its access log is not archived", b.Address())
		}
	})
	return l.found
}

func alarms(d Deployment) []check.Finding {
	l := look{Deployment: d}
	watched := map[string]bool{}
	l.each("resource", "aws_cloudwatch_metric_alarm", func(m *check.Module, b *check.Block) {
		if actions, ok := list(m, b.Body, "alarm_actions"); !ok || len(actions) != 1 || actions[0] != "aws_sns_topic.alarms.arn" {
			l.add(b.At, "%s: it calls nobody", b.Address())
		}
		if argument(m, b.Body, "actions_enabled") == "false" {
			l.add(b.At, "%s: switched off", b.Address())
		}
		l.present(m, b, "treat_missing_data")
		if description := argument(m, b.Body, "alarm_description"); !runbook.MatchString(description) {
			l.add(b.At, "%s: its description does not end with ${var.runbooks_url}/<name>.md", b.Address())
		}
		slo := ""
		for _, value := range objectItems(b.Body.Attributes["tags"])["Slo"] {
			slo = text(m, value)
		}
		if _, known := alerts.Find(slo); !known {
			l.add(b.At, "%s: Slo is %q, which is none of infra/alerts", b.Address(), slo)
		}
		watched[slo] = true
	})
	for _, o := range alerts.Objectives {
		if !watched[o.Name] {
			l.found = append(l.found, check.Finding{Message: "no alarm for the objective " + o.Name})
		}
	}
	l.each("resource", "aws_sns_topic", func(m *check.Module, b *check.Block) {
		for _, s := range m.Of("resource", "aws_sns_topic_subscription") {
			if argument(m, s.Body, "topic_arn") == b.Address()+".arn" && argument(m, s.Body, "endpoint") == "each.key" {
				return
			}
		}
		l.add(b.At, "%s: nobody subscribes", b.Address())
	})
	return l.found
}

func tags(d Deployment) []check.Finding {
	l := look{Deployment: d}
	l.each("resource", "", func(m *check.Module, b *check.Block) {
		if _, can := d.Schema.Resources[b.Type].Block.Attributes["tags"]; !can {
			return
		}
		if got := argument(m, b.Body, "tags"); !strings.Contains(got, "local.tags") {
			l.add(b.At, "%s: no tags", b.Address())
		}
	})
	return l.found
}
