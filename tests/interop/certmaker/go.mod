module certmaker

go 1.25.0

require (
	github.com/sigstore/fulcio v1.8.8
	github.com/sigstore/timestamp-authority/v2 v2.1.3
)
