# The first plan of an empty account: nothing has an identifier yet, and no count or
# for_each may need one.

mock_provider "aws" {
  alias  = "east"
  source = "./tests/mocks/east"
}

mock_provider "aws" {
  alias  = "west"
  source = "./tests/mocks/west"
}

mock_provider "aws" {
  alias  = "archive_east"
  source = "./tests/mocks/archive"
}

mock_provider "aws" {
  alias  = "archive_west"
  source = "./tests/mocks/archive"
}

run "home_in_the_east" {
  command = plan
}

run "home_in_the_west" {
  command = plan

  variables {
    home_region   = "us-west-2"
    writer_region = "us-west-2"
  }
}
