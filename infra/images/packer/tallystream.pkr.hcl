# A machine image (AMI) with the program and its units, for those who run the
# night on one machine of AWS. It holds no key and no election: both come with
# the machine's own data volume, mounted at /var/lib/tallystream.

packer {
  required_version = ">= 1.11.0"

  required_plugins {
    amazon = {
      source  = "github.com/hashicorp/amazon"
      version = "~> 1.3"
    }
  }
}

variable "region" {
  type        = string
  description = "Region of AWS in which the image is made."

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "The region must be a name such as us-east-1."
  }
}

variable "release" {
  type        = string
  description = "Release of the program, as `tallystream version` prints it."

  validation {
    condition     = can(regex("^[A-Za-z0-9._+-]{1,64}$", var.release))
    error_message = "The release must be 1 to 64 letters, digits and . _ + -."
  }
}

variable "program" {
  type        = string
  description = "Path of the program for Linux on arm64, taken out of the OCI image."

  validation {
    condition     = length(var.program) > 0
    error_message = "The program must be a path."
  }
}

variable "program_sha256" {
  type        = string
  description = "SHA-256 of the program. The machine checks it before it installs."

  validation {
    condition     = can(regex("^[0-9a-f]{64}$", var.program_sha256))
    error_message = "The digest must be 64 hex digits."
  }
}

variable "source_ami" {
  type        = string
  description = "Debian 12 or Amazon Linux 2023 for arm64, by identifier: a name can mean another image tomorrow."

  validation {
    condition     = can(regex("^ami-[0-9a-f]{8,17}$", var.source_ami))
    error_message = "The source must be an identifier such as ami-0123456789abcdef0."
  }
}

variable "ssh_username" {
  type        = string
  description = "User of the source image: admin on Debian, ec2-user on Amazon Linux."
  default     = "admin"

  validation {
    condition     = contains(["admin", "ec2-user"], var.ssh_username)
    error_message = "The user must be admin or ec2-user."
  }
}

variable "kms_key_id" {
  type        = string
  description = "KMS key that the image's disk is encrypted with: an ARN or an alias."

  validation {
    condition     = can(regex("^(arn:aws[a-z-]*:kms:|alias/)", var.kms_key_id))
    error_message = "The key must be an ARN (arn:aws:kms:...) or an alias (alias/...)."
  }
}

source "amazon-ebs" "machine" {
  region                      = var.region
  source_ami                  = var.source_ami
  instance_type               = "t4g.small"
  ssh_username                = var.ssh_username
  ssh_interface               = "session_manager" # no port is open, no address is public
  iam_instance_profile        = "AmazonSSMRoleForInstancesQuickSetup"
  associate_public_ip_address = false
  temporary_key_pair_type     = "ed25519"

  ami_name        = "tallystream-${var.release}-arm64"
  ami_description = "Tallystream ${var.release}, from ${var.source_ami}"
  encrypt_boot    = true
  kms_key_id      = var.kms_key_id
  imds_support    = "v2.0" # machines made of it too

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  tags = {
    Project       = "tallystream"
    Release       = var.release
    ProgramSHA256 = var.program_sha256
    SourceAMI     = var.source_ami
  }
}

build {
  sources = ["source.amazon-ebs.machine"]

  provisioner "file" {
    source      = var.program
    destination = "/tmp/tallystream"
  }

  provisioner "file" {
    source      = "${path.root}/../systemd"
    destination = "/tmp"
  }

  provisioner "shell" {
    execute_command = "sudo sh -eu '{{ .Path }}'"

    inline = [
      "echo '${var.program_sha256}  /tmp/tallystream' | sha256sum --check --strict",
      "install -o root -g root -m 0555 /tmp/tallystream /usr/local/bin/tallystream",
      "install -D -o root -g root -m 0444 /tmp/systemd/tallystream.sysusers /usr/lib/sysusers.d/tallystream.conf",
      "install -D -o root -g root -m 0444 /tmp/systemd/tallystream.tmpfiles /usr/lib/tmpfiles.d/tallystream.conf",
      "install -o root -g root -m 0444 /tmp/systemd/tallystream*.service /tmp/systemd/tallystream.target /etc/systemd/system/",
      "systemd-sysusers",
      "systemd-tmpfiles --create tallystream.conf",
      "systemctl enable tallystream.target tallystream-aggregate.service tallystream-fanout.service tallystream-ingest.service tallystream-publish.service",
    ]
  }

  # What only the building machine needs, and what every machine must make anew.
  provisioner "shell" {
    execute_command = "sudo sh -eu '{{ .Path }}'"

    inline = [
      "rm -rf /tmp/tallystream /tmp/systemd",
      "rm -f /etc/ssh/ssh_host_* /root/.ssh/authorized_keys /home/*/.ssh/authorized_keys",
      "truncate --size 0 /etc/machine-id",
      "cloud-init clean --logs",
    ]
  }

  post-processor "manifest" {
    output = "tallystream-ami.json"
  }
}
