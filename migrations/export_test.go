package migrations

// The tests run these over migrations of their own.
var (
	MigrateFS = migrate
	CheckFS   = check
)

// LockID is what a test holds to stand in for another migrating process.
const LockID int64 = lockID
