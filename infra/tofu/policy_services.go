package tofu

import (
	"regexp"
	"strings"

	"tallystream/infra/check"
)

// digest is the condition that a variable of images must be held against.
const digest = `@sha256:[0-9a-f]{64}$`

func digests(d Deployment) []check.Finding {
	l := look{Deployment: d}
	m := d.Modules[Region]
	for _, v := range m.Of("variable", "") {
		if v.Name != "images" {
			continue
		}
		held := false
		for _, validation := range nested(m, v.Body, "validation") {
			held = held || strings.Contains(strings.Join(stringsOf(m, validation.Body.Attributes["condition"]), " "), digest)
		}
		if !held {
			l.add(v.At, "%s: nothing refuses a tag (want %s)", v.Address(), digest)
		}
	}
	l.each("resource", "aws_ecs_task_definition", func(m *check.Module, b *check.Block) {
		images := 0
		for key, value := range objectItems(b.Body.Attributes["container_definitions"]) {
			if key == "image" {
				for _, image := range value {
					images++
					if got := text(m, image); !strings.HasPrefix(got, "var.images.") {
						l.add(image.Range(), "%s: the image %q is not one of var.images, which are digests", b.Address(), got)
					}
				}
			}
		}
		if images == 0 {
			l.add(b.At, "%s: no image can be read in its container_definitions", b.Address())
		}
	})
	l.each("resource", "aws_lambda_function", func(m *check.Module, b *check.Block) {
		l.present(m, b, "s3_object_version")
		l.present(m, b, "source_code_hash")
		l.want(m, b, []string{"provided.al2023"}, "runtime")
	})
	l.each("resource", "aws_ecr_repository", func(m *check.Module, b *check.Block) {
		l.want(m, b, []string{"IMMUTABLE"}, "image_tag_mutability")
	})
	return l.found
}

// hardened is what local.hardening has to say.
var hardened = map[string]string{"readonlyRootFilesystem": "true", "privileged": "false", "user": "65532:65532"}

func containers(d Deployment) []check.Finding {
	l := look{Deployment: d}
	m := d.Modules[Region]
	a := m.Locals["hardening"]
	if a == nil {
		l.found = append(l.found, check.Finding{Message: Region + ": there is no local.hardening"})
		return l.found
	}
	items := objectItems(a)
	for key, want := range hardened {
		if got := items[key]; len(got) != 1 || text(m, got[0]) != want {
			l.add(a.SrcRange, "local.hardening: %s must be %s", key, want)
		}
	}
	if dropped := items["drop"]; len(dropped) != 1 || !contains(first(texts(m, dropped[0])), "ALL") {
		l.add(a.SrcRange, "local.hardening: capabilities must drop ALL")
	}
	l.each("resource", "aws_ecs_task_definition", func(m *check.Module, b *check.Block) {
		definitions := b.Body.Attributes["container_definitions"]
		items := objectItems(definitions)
		count := 0
		for _, t := range definitions.Expr.Variables() {
			if reference(t) == "local.hardening" {
				count++
			}
		}
		if names := len(items["image"]); count != names {
			l.add(b.At, "%s: %d containers, %d hardened", b.Address(), names, count)
		}
		for key := range hardened {
			if len(items[key]) > 0 {
				l.add(b.At, "%s: %s stands in local.hardening and nowhere else", b.Address(), key)
			}
		}
	})
	return l.found
}

// first drops the second result.
func first(list []string, _ bool) []string { return list }

// signal is what a service must be scaled by: a metric's name.
var signal = map[string]string{
	"ingest":    "tallystream_stream_queue_records",
	"aggregate": "GetRecords.IteratorAgeMilliseconds",
	"fanout":    "ActiveFlowCount_TLS",
}

func scaling(d Deployment) []check.Finding {
	l := look{Deployment: d}
	m := d.Modules[Region]
	found := map[string]bool{}
	for _, p := range m.Of("resource", "aws_appautoscaling_policy") {
		l.want(m, p, []string{"TargetTrackingScaling"}, "policy_type")
		resource := argument(m, p.Body, "resource_id")
		for service, metric := range signal {
			if resource == "aws_appautoscaling_target.service["+service+"].resource_id" && contains(templates(m, p.Body), metric) {
				found[service] = true
			}
		}
	}
	for service, metric := range signal {
		if !found[service] {
			l.found = append(l.found, check.Finding{Message: Region + ": " + service + " is not scaled by " + metric})
		}
	}
	if len(m.Of("resource", "aws_appautoscaling_scheduled_action")) == 0 {
		l.found = append(l.found, check.Finding{Message: Region + ": nothing is warmed up before a known peak"})
	}
	for _, t := range m.Of("resource", "aws_appautoscaling_target") {
		l.present(m, t, "max_capacity")
	}
	return l.found
}

// runbook is how an alarm links to what to do.
var runbook = regexp.MustCompile(`\$\{var\.runbooks_url\}/[a-z-]+\.md$`)

// secretText are forms of secrets that must stand nowhere.
var secretText = regexp.MustCompile(`AKIA[0-9A-Z]{16}|-----BEGIN|PRIVATE\+KEY|xox[abp]-|password\s*[:=]\s*"?[A-Za-z0-9]{6,}`)

func secrets(d Deployment) []check.Finding {
	l := look{Deployment: d}
	l.each("provider", "", func(m *check.Module, b *check.Block) {
		for _, name := range []string{"access_key", "secret_key", "token", "profile"} {
			if b.Body.Attributes[name] != nil {
				l.add(b.At, "provider %s: %s; providers enter by a role", b.Name, name)
			}
		}
		l.present(m, b, "assume_role", "role_arn")
	})
	for _, typ := range []string{"aws_secretsmanager_secret_version", "aws_iam_access_key", "aws_ssm_parameter"} {
		l.each("resource", typ, func(_ *check.Module, b *check.Block) {
			l.add(b.At, "%s: its value would be in the state", b.Address())
		})
	}
	for _, dir := range check.Dirs(d.Modules) {
		m := d.Modules[dir]
		for _, b := range m.Blocks {
			for _, t := range templates(m, b.Body) {
				if secretText.MatchString(t) {
					l.add(b.At, "%s: a secret in the text", b.Address())
				}
			}
		}
		for name, a := range m.Locals {
			if secretText.MatchString(strings.Join(stringsOf(m, a), "\n")) {
				l.add(a.SrcRange, "local.%s: a secret in the text", name)
			}
		}
		for _, v := range m.Of("variable", "") {
			if strings.Contains(v.Name, "secret") && !strings.HasSuffix(v.Name, "_name") && argument(m, v.Body, "sensitive") != "true" {
				l.add(v.At, "%s: not sensitive", v.Address())
			}
		}
	}
	return l.found
}
