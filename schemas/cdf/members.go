package cdf

import (
	"strings"
	"sync"
)

// classMembers lists the members of every class that Import looks into, as the
// standard's JSON schema has them; those with a star are required. The schema
// allows no others, and neither do we.
var classMembers = map[string]string{
	"BallotMeasureContest": `@id* Abbreviation BallotSubTitle BallotTitle ConStatement ContestSelection CountStatus EffectOfAbstain
ElectionDistrictId* ExternalIdentifier FullText HasRotation InfoUri Name* OtherCounts OtherType OtherVoteVariation
PassageThreshold ProStatement SequenceOrder SubUnitsReported SummaryText TotalSubUnits Type VoteVariation`,
	"BallotMeasureSelection": `@id* ExternalIdentifier Selection* SequenceOrder VoteCounts`,
	"BallotStyle":            `ExternalIdentifier GpUnitIds* ImageUri OrderedContent PartyIds`,
	"Candidate": `@id* BallotName* CampaignSlogan ContactInformation ExternalIdentifier FileDate IsIncumbent IsTopTicket PartyId PersonId
PostElectionStatus PreElectionStatus`,
	"CandidateContest": `@id* Abbreviation BallotSubTitle BallotTitle ContestSelection CountStatus ElectionDistrictId* ExternalIdentifier
HasRotation Name* NumberElected NumberRunoff OfficeIds OtherCounts OtherVoteVariation PrimaryPartyIds SequenceOrder
SubUnitsReported TotalSubUnits VoteVariation VotesAllowed*`,
	"CandidateSelection": `@id* CandidateIds EndorsementPartyIds IsWriteIn SequenceOrder VoteCounts`,
	"Coalition": `@id* Abbreviation Color ContactInformation ContestIds ExternalIdentifier IsRecognizedParty LeaderPersonIds LogoUri Name*
PartyIds PartyScopeGpUnitIds Slogan`,
	"CountStatus": `OtherType Status* Type*`,
	"Election": `BallotCounts BallotStyle Candidate ContactInformation Contest CountStatus ElectionScopeId* EndDate* ExternalIdentifier
Name* OtherType StartDate* Type*`,
	"ElectionReport": `Election ExternalIdentifier Format* GeneratedDate* GpUnit Header IsTest Issuer* IssuerAbbreviation* Notes Office
OfficeGroup Party Person SequenceEnd* SequenceStart* Status* TestType VendorApplicationId*`,
	"ExternalIdentifier":    `Label OtherType Type* Value*`,
	"InternationalizedText": `Label Text*`,
	"LanguageString":        `Content* Language*`,
	"OrderedContest":        `ContestId* OrderedContestSelectionIds`,
	"OrderedHeader":         `HeaderId* OrderedContent`,
	"Party": `@id* Abbreviation Color ContactInformation ExternalIdentifier IsRecognizedParty LeaderPersonIds LogoUri Name*
PartyScopeGpUnitIds Slogan`,
	"PartyContest": `@id* Abbreviation BallotSubTitle BallotTitle ContestSelection CountStatus ElectionDistrictId* ExternalIdentifier
HasRotation Name* OtherCounts OtherVoteVariation SequenceOrder SubUnitsReported TotalSubUnits VoteVariation`,
	"PartySelection":  `@id* PartyIds* SequenceOrder VoteCounts`,
	"ReportingDevice": `@id* ComposingGpUnitIds DeviceClass ExternalIdentifier Name SerialNumber`,
	"ReportingUnit": `@id* AuthorityIds ComposingGpUnitIds ContactInformation CountStatus ElectionAdministration ExternalIdentifier
IsDistricted IsMailOnly Name Number OtherType PartyRegistration SpatialDimension SubUnitsReported TotalSubUnits Type*
VotersParticipated VotersRegistered`,
	"RetentionContest": `@id* Abbreviation BallotSubTitle BallotTitle CandidateId* ConStatement ContestSelection CountStatus EffectOfAbstain
ElectionDistrictId* ExternalIdentifier FullText HasRotation InfoUri Name* OfficeId OtherCounts OtherType
OtherVoteVariation PassageThreshold ProStatement SequenceOrder SubUnitsReported SummaryText TotalSubUnits Type
VoteVariation`,
}

// memberTable says of each class and member whether it is required.
var memberTable = sync.OnceValue(func() map[string]map[string]bool {
	table := make(map[string]map[string]bool, len(classMembers))
	for class, list := range classMembers {
		table[class] = map[string]bool{typeMember: true}
		for _, name := range strings.Fields(list) {
			bare, required := strings.CutSuffix(name, "*")
			table[class][bare] = required
		}
	}
	return table
})
