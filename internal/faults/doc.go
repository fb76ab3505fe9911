/*
Package faults proves the promises under faults. It has no code of its own, only tests. They drive the real program
against the stand-in and a real PostgreSQL.

Each test counts how often its fault happened, and fails if it never did: a fault that did not happen proves nothing.
One place (package trial) then compares the tables and the stand-in's own record with these invariants:

	I1   every input row has exactly one final result
	I2   its code is what the service knows of the token
	I3   no result without a whole and well-formed answer that said so
	I4   a commit's results are all there or none is
	I5   a recorded result never goes, changes or comes twice
	I6   no more calls than batches, retries and what each kill had in flight
	I7   the service's subscribers are those that it should have
	I8   nothing pruned that the service knows, or whose row has changed
	I9   all else that the user has is as it was, byte by byte
	I10  the rate holds in any second, of all processes together
	I11  the job ends within a time after the last fault
	I12  exit code and summary say what the tables say
	I13  no secret and no whole token where none belongs
	I14  memory, files and goroutines are bounded
	I15  nothing is written by a process that has lost its segment

TestSeeds draws what happens from a seed. `make test-faults N=1000` tries a thousand seeds, `make test-faults SEED=7`
tries the seventh again, and `make test` tries three.

# Faults and their tests

A test of another package is listed with its directory, a script of cmd/bulksub/testdata with its file. TestTable checks
that the list is complete and that its tests exist. F38 is played against the client alone: with the program's own
ping intervals, the test would have to wait for half a minute.

	F01  kill -9 at a random moment: TestSeeds, cmd/bulksub TestKilledRunsGoOn, cmd/bulksub TestKilledSyncGoesOn, cmd/bulksub TestKilledImportsGoOn
	F02  kill -9 at every step of a batch's life: TestKilledAtEveryRequestAndReply, TestKilledAtEverySystemCall
	F03  kill when the service has done its work and not answered: cmd/bulksub TestKilledRunsGoOn
	F04  kill between COMMIT and its reply: TestKilledAtEveryRequestAndReply
	F05  SIGTERM, and SIGKILL after a grace: cmd/bulksub TestSignalDrains, cmd/bulksub TestKilledRunsGoOn
	F06  a second signal while draining: cmd/bulksub TestSecondSignalEnds
	F07  SIGSTOP for longer than the lease: cmd/bulksub TestProcessesInChaos, TestSilentTransaction, TestSeeds
	F08  a panic in a worker: pipeline TestPanicsSurface, pipeline TestKilledInDoubtLeavesNoBias
	F09  a crash loop: TestCrashLoop
	F10  another release (no release came before, so it is one source with two stamps), a ledger that is older or newer than the program, other flags for a job that goes on: TestTwoReleases, migrations TestCheckListsWhatIsMissing, migrations TestCheckRefusesANewerSchema, TestChangedFlags, resume.txtar
	F11  the database crashes and comes back: TestDatabaseCrashes, source TestPostgresServerComesBack
	F12  a backend is terminated in the middle of a COPY: TestBackendTerminatedInMidCopy
	F13  a COMMIT whose outcome is unknown: TestCommitReplyLost, sink TestCommitWithUnknownOutcome, sink/prune TestPruneWithUnknownOutcome
	F14  a connection that is a black hole: TestBlackHole, source TestPostgresBlackHoleWithinAPage
	F15  a primary that is demoted: TestReadOnlyPrimary
	F16  failover to a standby that has missed the last commits: TestFailoverLosesCommits
	F17  serialization failure, deadlock, lock timeout: TestPassingRefusals, TestDeadlock, TestLockTimeout
	F18  statement and idle-in-transaction timeouts: TestStatementTimeout, TestSilentTransaction
	F19  too many connections, a pool of one: TestTooManyConnections, sink TestWaitingIsCheap
	F20  PgBouncer in transaction mode: TestPgBouncer, TestSeeds, cmd/bulksub TestScripts
	F21  a full disk of the database: TestDiskFull, TestPassingRefusals
	F22  table, column or right goes in the middle of a job: TestTableChangesMidway, source TestPostgresTableChangesMidway, source TestPostgresRightRevokedMidway
	F23  rows come, change and go while they are read: TestRowsComeAndGo, source TestPostgresRowsComeAndGo
	F24  a snapshot held for long: source TestPostgresHoldsNoSnapshot
	F25  a standby that lags: TestStandbyLags, TestPruneWaitsForAStandby
	F27  processes started at once: cmd/bulksub TestEightBeginAtOnce, sink TestEightProcessesMakeOneJob, migrations TestEightProcessesAtOnceOneApplies
	F28  two processes with one host name: cmd/bulksub TestProcessesInChaos, sink TestOnlyDeadProcessesAreBuried
	F29  a zombie commits after a takeover: cmd/bulksub TestProcessesInChaos, sink TestZombie, sink TestZombieLosesByFinish, sink TestZombieHasNoEffect
	F30  a takeover races with the end: sink TestManyProcesses, sink TestFreeSegmentThatIsLocked
	F31  renewals fail while calls work: pipeline TestLapsedLease, sink TestRenew
	F32  a pod killed over and over among others: cmd/bulksub TestProcessesInChaos
	F33  a CronJob fires while its last run works: sink TestUnnamedJobIsForOneProcess, cmd/bulksub TestSyncTogether
	F34  empty names: sink TestLedgerRefusesEmptyNames, arguments.txtar
	F35  an answer that is lost, reset or cut short: TestUndeliveredVerdicts, TestConnectionCutInMidAnswer, trouble.txtar, iidclient TestLostReplies
	F36  an answer that drips, never ends, or expands: TestAnswersWithoutEnd, iidclient TestTimeoutEndsACall
	F37  GOAWAY, REFUSED_STREAM: TestGoAway, TestRefusedStreams, iidclient TestHTTP2IsUsedAndSurvivesGoAway, iidclient TestRefusedStreamIsSentAgainWhole, fcmclient TestGoAwayLosesNothing, fcmclient TestRefusedStreamIsSentAgain
	F38  a dead connection that is used again: iidclient TestADeadConnectionIsFound
	F39  503 with any Retry-After: iidclient TestRetryAfterIsKept, iidclient FuzzParseRetryAfter, pipeline TestRespect
	F40  429, and exhausted tokens: pipeline TestQuotaIsFound, pipeline TestExhaustedTokensSlowEverythingDown, sink/budget TestQuotaSlowsAll
	F41  an outage of minutes: pipeline TestOutageIsSurvived, pipeline TestOutageBeyondPatience
	F42  access tokens that expire or are revoked, a token endpoint in trouble: TestCredentialsExpire, iidclient TestABurstOf401CausesOneMint, iidclient TestManyCallersShareOneMint
	F43  4xx, 5xx, a web page with 200: trouble.txtar, TestUndeliveredVerdicts, internal/iid TestEveryCell
	F44  results in every wrong shape: TestUndeliveredVerdicts, iidclient FuzzDecodeResults, iidclient FuzzDecodeImport, fcmclient FuzzDecodeSubscribed, fcmclient FuzzDecodeSubscription, fcmclient FuzzDecodePage, fcmclient FuzzRefusal, iidclient TestBatchImportMatchesByTokenNotByPlace
	F46  a host that is not known, that moves, that a name server is silent or slow about, a proxy: TestUnknownHost, TestNewAddress, TestSilentNameServer, iidclient TestAProxyLearnsNothing
	F47  many workers over HTTP/1.1: iidclient TestConnectionsAreReused
	F48  the wrong project: brakes.txtar, pipeline TestBrakeTripsAfterThreeCalls
	F49  the wrong path: trouble.txtar, internal/iid TestEveryCell
	F50  a service that lies about NOT_FOUND: TestLyingService
	F51  a row that gets another token before the prune: TestTokensChangeBeforeThePrune, sink/prune TestPruneTouchesOnlyWhatWasJudged, sink/prune TestPruneWaitsForARowUnderChange
	F52  a token that fails for ever, a token that fails its call: pipeline TestTokenThatAlwaysFails, pipeline TestBisectFindsPoison, trouble.txtar
	F53  one token in many rows, empty and overlong tokens: pipeline TestDuplicatesShareAPlace, pipeline TestTokenFlaw, source TestPostgresBadTokensAreRows
	F54  kill in the middle of a prune, prune twice, references that block it: TestKilledInMidPrune, sink/prune TestPruneCutShort, sink/prune TestPruneIsRefusedByTheTable
	F55  codes that nobody knows: pipeline TestUnknownCodeWordForWord, iidclient TestImportStatuses
	F56  BOM, UTF-16, line ends, headers: source TestCSVReads, source TestCSVRefuses, source FuzzCSV
	F59  what a spreadsheet makes of a token (a row with its result; what is malformed stops no job, what the service mostly rejects does): pipeline TestTokenFlaw, import.txtar, import_kinds.txtar, brakes.txtar
	F60  an input that grows, shrinks or is replaced: TestReplacedInput, source TestCSVChangedAfterTheSurvey, resume.txtar
	F61  a full or a bad disk, or a closed pipe, for results: TestResultFileOnAFullDisk, TestResultFileOnABadDisk, TestExportFails, sink TestCSVOnAFullDisk, sink TestCSVCutAnywhere

# What nobody must get, and its tests

	S01  no secret and no whole token in what is said, shown, served or kept: TestSecretsAreNowhere, TestPasswordsAreNotRepeated, cmd/bulksub TestScripts, TestSeeds
	S02  redirects are not followed: iidclient TestRedirectsAreNotFollowed, iidclient TestTokenEndpointTroubles
	S03  plain http: iidclient TestPlainHTTPRule, iidclient TestOnlyTestCredentialsGoOverPlainHTTP
	S04  proxies: iidclient TestAProxyLearnsNothing
	S05  TLS of today, and a certificate: iidclient TestOnlyProvenServersAreTold
	S06  files for their owner alone: sink TestCSVBytes, TestKilledAtEverySystemCall
	S07  links are not followed: sink TestCSVLeavesOtherFilesAlone, sink TestCSVReplacesALinkAtPartialNew
	S08  a file has its name when it is whole: sink TestCSVCutAnywhere, sink TestCSVCompletesOnlyItsOwnFile, TestKilledAtEverySystemCall
	S09  no formulas for spreadsheets: spreadsheet.txtar
	S10  names and conditions are no statements: TestHostileNames, internal/postgres FuzzResolve, internal/postgres FuzzParseName
	S11  roles with what each needs: TestRoles, TestSeeds, cmd/bulksub TestDoctorsRightsAreEnough
*/
package faults
