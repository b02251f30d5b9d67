"""State every promised number once, with its unit and the page that promises it."""

from __future__ import annotations

MB = 1_000_000
MIB = 1024 * 1024

# Deta docs, Micros > About, Technical Specifications and Important Notes
EXECUTION_TIMEOUT_S = 10.0
EXECUTION_MEMORY_BYTES = 512 * MIB
EXECUTION_TMP_BYTES = 512 * MIB
EXECUTION_TASKS = 1024
PAYLOAD_BYTES = 5_500_000
CODE_BYTES = 250 * MB
DEPENDENCIES_BYTES = 250 * MB

# Deta docs, Micros > Custom Domains and Sub-domains
SUBDOMAIN_CHARACTERS_MIN = 4
DOMAINS_PER_MICRO = 5
EGRESS_NAMES_MAX = 64
DOMAIN_LOOKUP_S = 3.0

# Deta docs, CLI > Authentication: access tokens are valid for a year
TOKEN_DAYS = 365

# Deta docs, Micros > Visor, Logs Retention
EVENT_RETENTION_DAYS = 14

# Deta docs, Base > HTTP, and Base > SDK, Storing Numbers. Powers of two, as the original's engine counted
BASE_PUT_ITEMS = 25
BASE_BODY_BYTES = 16 * MIB
BASE_CHANGES = 1000  # saved as one step in the console
BASE_ITEM_BYTES = 400 * 1024
BASE_SCAN_BYTES = MIB
BASE_NUMBER_DIGITS = 16
BASE_KEY_CHARACTERS = 12

# Ours: Base. A key must fit into the target of a request
BASE_NAME_BYTES = 255
BASE_KEY_BYTES = 10 * 1024
BASE_NESTING = 64
BASE_QUERY_BYTES = MIB
BASE_QUERY_CONDITIONS = 1000
BASE_SCAN_S = 0.2
BASE_HARD_ITEM_S = 1.0
BASE_PAGES_AT_ONCE = 2  # of one project
BASE_INDEXES = 16
BASE_INDEX_PATH_BYTES = 1024
BASE_FILES_OPEN = 64
BASE_FILE_IDLE_S = 120.0
BASE_WRITES_WAITING = 10_000
BASE_WRITES_WAITING_BYTES = 64 * MIB

# Deta docs, Drive > HTTP: Put File, Upload Chunked Part, List Files, Delete Files; Drive > About. The clients
# send parts of 10 MiB
DRIVE_FILE_BYTES = 10 * MIB
DRIVE_PART_BYTES = 10 * MIB
DRIVE_NAMES_PER_PAGE = 1000
DRIVE_NAMES_PER_DELETE = 1000
DRIVE_QUOTA_MB = 10_000

# Ours: Drive
DRIVE_FILE_NAME_BYTES = 1024
DRIVE_NAME_BYTES = 128
DRIVE_CONTENT_TYPE_BYTES = 255
DRIVE_DELETE_BODY_BYTES = 8 * MIB
DRIVE_PARTS = 10_000
DRIVE_RECEIVE_BYTES = 256 * 1024
DRIVE_SEND_BYTES = 64 * 1024
DRIVE_UPLOAD_IDLE_S = 12 * 3600.0
DRIVE_ORPHAN_AGE_S = 3600.0
DRIVE_SWEEP_S = 3600.0
DRIVE_VERIFY_S = 30 * 86_400.0
DRIVE_VERIFY_BYTES_PER_S = 20 * MB
DRIVE_DISK_RESERVE_BYTES = 64 * MIB
# less than Drives leave: full Drives stop no Base, and full Bases stop no deletion
BASE_DISK_RESERVE_BYTES = 32 * MIB
DRIVE_THREADS = 16
DRIVE_INDEXES_OPEN = 64
DRIVE_INDEX_IDLE_S = 120.0

# Ours: the import of an export. An item takes more room as it was written than as it is kept
IMPORT_ITEM_CHARACTERS = 16 * MIB
IMPORT_READ_CHARACTERS = MIB
IMPORT_ANSWER_S = 300.0
IMPORT_TRIES = 5

# Ours: bundles
BUNDLE_UPLOAD_BYTES = 250 * MB
BUNDLE_ENTRIES = 20_000
BUNDLE_PATH_BYTES = 1024

# Ours: executions
LIFESPAN_STARTUP_S = 10.0
LIFESPAN_SHUTDOWN_S = 2.0
IMPORT_TIMEOUT_S = 30.0
QUEUE_LENGTH = 256
QUEUE_WAIT_S = 2.0
EXECUTORS_PER_MICRO = 64
LOG_BYTES_PER_EXECUTION = 256 * 1024
TIMEOUT_S_MAX = 900.0
MEMORY_MB_MAX = 4096
CONCURRENCY_MAX = 32  # executions in one process at once, where a Micro asks for it

# Ours: the gateway
REQUEST_HEAD_BYTES = 64 * 1024
REQUEST_HEADERS = 100
REQUEST_HEAD_S = 10.0
REQUEST_BODY_S = 30.0
CONNECTION_IDLE_S = 60.0
RESPONSE_HEAD_BYTES = 64 * 1024
REQUEST_TARGET_BYTES = 16 * 1024
REQUEST_BUFFER_BYTES = 256 * 1024
CONNECTION_WRITE_S = 30.0
WEBSOCKET_MESSAGE_BYTES = MIB

# Ours: bodies that Base and Drive keep whole until they are stored. Small ones need no place; of the places one
# project has at most half
BODIES_BYTES = 64 * MIB
BODY_FREE_BYTES = 64 * 1024
BODY_WAIT_S = 10.0
BODIES_PARSED_AT_ONCE = 2

# Ours: the pool. A busy executor is warm, an idle one is frozen, then ended; the warden's frozen spare remains
EXECUTOR_FREEZE_S = 1.0
EXECUTOR_KEEP_S = 20.0
FORKS_IN_FLIGHT = 8
FORK_WAIT_S = 0.005
FORK_CPU_SHARE = 0.7

# Ours: run and cron
EVENT_INPUT_BYTES = 5_500_000
EVENT_RESULT_BYTES = 5_500_000

# Ours: cron
CRON_EXPRESSION_CHARACTERS = 256
CRON_RATE_DAYS_MAX = 3650
CRON_NEXT_TIMES = 5
CRON_CATCH_UP_S = 86_400.0
CRON_CLOCK_BACK_S = 10_800.0
CRON_OVERLOAD_RETRY_S = 30.0
CRON_CONCURRENCY = 128

# Ours: what an owner may set
TIMEOUT_S_MIN = 1.0
MEMORY_MB_MIN = 64
VARIABLE_BYTES = 32 * 1024
ENVIRONMENT_VARIABLES = 256
ENVIRONMENT_BYTES = 128 * 1024

# Ours: deployments
REQUIREMENTS_BYTES = 256 * 1024
PACKAGES_BYTES = 3 * MIB  # each, package.json and its lock
REVISIONS_KEPT = 10
FILE_SHOWN_BYTES = 1_000_000
UPLOADS_AT_ONCE = 8

# Ours: the deploy button. The sandbox keeps the limits on what is fetched (sandbox/fetching.py)
FETCHES_WAITING = 8
FETCHES_OF_ONE = 2  # of one user

# Ours: the API. A client compares API_VERSION with its own; it grows when an older client would go wrong
API_VERSION = 1
API_BODY_BYTES = 1_000_000
EVENTS_PER_PAGE = 100
EVENTS_PER_PAGE_MAX = 1000
EVENTS_DISK_RESERVE_BYTES = 128 * MIB  # between those of Visor and of Drives
EVENTS_PAGE_CHARACTERS = 4_000_000  # of their texts: a page ends early
WRONG_TOKENS_PER_MINUTE = 20

# Ours: logging in with a browser
LOGINS_OPEN = 100
LOGINS_OPEN_OF_ONE = 20  # from one address
LOGINS_PER_MINUTE = 10
LOGIN_S = 600
LOGIN_POLL_S = 1
LOGIN_NAME_CHARACTERS = 100

# Ours: users and the sessions of their browsers
SESSION_IDLE_DAYS = 7
SESSION_MAX_DAYS = 30
SESSION_NOTE_S = 3600.0  # a session's use is noted this often at most
SESSIONS_OF_ONE = 50
INVITATION_DAYS = 7
PASSWORD_CHARACTERS_MIN = 10
PASSWORD_CHARACTERS_MAX = 1024
PASSWORD_MEMORY_KIB = 64 * 1024
PASSWORD_PASSES = 3
PASSWORD_LANES = 4
PASSWORDS_WAITING = 8
PASSWORDS_WAITING_OF_ONE = 2  # from one address
USER_NAME_CHARACTERS = 64
ENTRY_CODE_S = 60.0
ENTRY_CODES = 1000

# Ours: the doors to Base and Drive
CORS_MAX_AGE_S = 86_400

# Ours: TLS with the host's own authority
AUTHORITY_DAYS = 3650
CERTIFICATE_DAYS = 90
CERTIFICATE_RENEW_DAYS = 30
TLS_HANDSHAKES = 512

# Ours: connections from inside Micros to Base and Drive
INSIDE_CONNECTIONS = 256
INSIDE_REQUESTS = 8  # of one sandbox at once; the others wait
INSIDE_SHARE = 4  # of all connections, one in so many may come from inside
INSIDE_HANDSHAKE_S = 5.0
INSIDE_CLOSE_S = 2.0

# Ours: Visor. What is kept of an exchange, and what may wait for the disk
VISOR_BODY_BYTES = 64 * 1024
VISOR_STORE_BYTES = 2_000 * MB
VISOR_QUEUE_BYTES = 32 * MIB
VISOR_IN_FLIGHT_BYTES = 64 * MIB
VISOR_EXCHANGES_PER_S = 1000  # of one Micro; a flood's others are counted, not kept
VISOR_BYTES_PER_S = 8 * MIB  # of one Micro
VISOR_DISK_RESERVE_BYTES = 256 * MIB
VISOR_APART_AT_ONCE = 2  # deployments that are started for a replay only
METRICS_MINUTES_MAX = 1440

# Ours: those who follow executions. What has ended meanwhile is sent together, so that a flood with many readers leaves room
STREAMS_OF_ONE = 32  # of one user
STREAM_GATHER_S = 0.1
STREAM_PIECE_CHARACTERS = 64 * 1024
FOLLOWER_RECORDS = 1_000
FOLLOWER_CHARACTERS = 4_000_000
METRICS_POINTS = 60
