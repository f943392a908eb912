"""What verbs say: whether an action only looks, and how much harm it can do. General English and API words only."""

from __future__ import annotations

from agentguard.core import Risk
from agentguard.registry._tool_words import listed

# INVARIANT: no tool, product or suite is named here.
READ = listed(
    """
    get list read search find fetch show view check count describe lookup look retrieve browse inspect
    compare calculate compute estimate validate verify preview explain summarize summarise analyze
    analyse watch monitor has is exist diff ping translate detect classify extract parse filter sort
    rank recommend suggest quote peek query tail head stat scan discover display print dump explore
    measure poll review audit trace grep enumerate locate see recall forecast predict evaluate lint
    whois identify convert head options solve ls cat current available recent latest all my
    nearby whoami visit navigate goto screenshot snapshot hover scroll wait sleep think reason reflect consider guess who what where when which how
    """
)

# Verbs that change something, and the risk of doing so to an ordinary thing.
WRITE: dict[str, Risk] = {
    **dict.fromkeys(
        listed(
            """
    cp mv ln add create make new update edit modify change set put patch write save store insert append upsert
    rename copy clone duplicate move upload attach assign unassign label tag untag mark flag star pin
    unpin archive unarchive restore undo redo comment annotate rate vote like react follow unfollow
    bookmark snooze dismiss acknowledge ack log record track register subscribe unsubscribe join leave
    open close reopen resolve schedule reschedule plan draft begin end finish complete import sync
    refresh clear generate convert apply link unlink bind configure enable toggle select adjust increase
    decrease increment decrement allocate queue enqueue emit trigger touch mkdir init initialize fork
    branch stage push commit checkin check_in fill download export crop resize compress extract split
    format play pause skip turn dim lock arm replace request enroll enrol admit escalate
    reorder subscribe provision renew extend checkout switch prolong shorten brighten heat cool warm tune
    rotate shift swap exchange adapt correct fix amend append annul reassign delegate nominate pause
    postpone advance note jot remind remember memorise memorize pick choose prefer raise lower reduce lift grow
    shrink roll patch put repeat redo input enter type click tap press key drag
    """
        ),
        Risk.MEDIUM,
    ),
    **dict.fromkeys(
        listed(
            """
    chmod chown delete remove del rm erase unset cancel drop reset revert rollback overwrite detach evict expel send
    post reply forward mail email message dm text sms notify broadcast announce publish share invite
    submit call dial fax page contact respond answer buy purchase order book reserve rent
    sell trade bid subscribe redeem refund charge bill invoice deploy release start stop restart reboot
    launch boot scale migrate merge rebase install uninstall upgrade downgrade kill abort suspend resume
    stream approve reject confirm accept decline sign authorize authorise authenticate login logout
    connect disconnect activate deactivate disable prescribe administer dispense transition discharge
    unlock disarm terminate fire hire void file mount format flash bounce kick issue credit debit award settle claim
    dispute withhold waive lend borrow ship deliver dispatch
    """
        ),
        Risk.HIGH,
    ),
    **dict.fromkeys(
        listed(
            """
    pay transfer wire withdraw deposit remit donate disburse payout tip exec execute eval run shell
    spawn sudo destroy purge wipe truncate nuke shred grant revoke impersonate elevate promote demote
    """
        ),
        Risk.CRITICAL,
    ),
}

# Critical where an argument says what they start.
STARTING = listed(
    """
    run exec execute
    """
)

# Words that are nouns as often as verbs: at the head of a name they are verbs, behind a noun they are not.
AMBIGUOUS = listed(
    """
    order post book schedule transfer comment message mail email update share note report log request
    file flag star like call text charge record list view search track status host name sort record plan
    draft branch commit tag label link page bill invoice trade bid tip stage release review quote check
    count query stream estimate preview copy import export record format upload download end change set play order fork
    merge push deposit rate vote contact answer reply sms dm head tail print dump select display scan
    stat recent latest current all my open close complete lock split bookmark new address fire page
    issue credit debit award claim dispute ship dispatch key type click press tap input enter patch pick lift heat
    cool swap exchange shift roll fix advance delegate switch kick bounce drag guess reason visit snapshot
    screenshot wait sleep scroll hover note repeat shorten tune rotate raise grow
    forecast fill touch draft trace audit look see what where when which how who available nearby wire
    """
)

# Changing one of these is worse than changing an ordinary thing.
GRAVE = listed(
    """
    permission role privilege credential password passcode secret key token admin policy firewall iam
    acl database table schema cluster namespace bucket volume server instance production prod backup
    account user repository repo project organization organisation tenant domain dns certificate disk
    record patient customer employee payroll salary branch mailbox everything
    """
)
# Setting one of these gives somebody power.
POWER = listed(
    """
    permission role privilege credential password passcode secret admin iam acl mfa otp pin
    """
)
# Verbs that are also the name of such a thing.
AMBIGUOUS_POWER = frozenset(("pin",))
DESTRUCTIVE = listed(
    """
    delete remove del rm erase drop destroy purge wipe truncate nuke shred reset terminate kill
    overwrite uninstall format revoke disable deactivate
    """
)
MONEY = listed(
    """
    money fund payment payout salary bank wire cash crypto bitcoin coin refund balance deposit
    withdrawal remittance transaction invoice
    """
)
CODE = listed(
    """
    command cmd shell bash terminal script code sql statement python program process sandbox
    """
)
# Making something new: the names given to it are what is stored, not what is acted on.
MAKING = listed(
    """
    create make new add insert post draft schedule book generate register plan open begin publish init
    initialize provision save store write log record submit upload
    """
)
# What these verbs do leaves the house.
SENDING = listed(
    """
    send post reply forward mail email message dm text sms notify broadcast announce publish share
    invite submit call dial fax pay transfer wire remit donate contact respond buy purchase order
    book reserve upload push disburse refund withdraw
    """
)
# What the results of reads are about: confidentiality and categories.
SECRET_DATA = listed(
    """
    password passcode credential secret token ssn pin otp cvv mfa
    """
)
HEALTH_DATA = listed(
    """
    medical health patient diagnosis prescription clinical lab allergy medication
    """
)
MONEY_DATA = listed(
    """
    salary payroll bank account balance transaction statement invoice payment iban card tax billing wage
    loan portfolio holding
    """
)
PERSONAL_DATA = listed(
    """
    mail email inbox message chat dm conversation contact address phone user customer employee person
    people profile passport calendar event attendee mailbox sms note file document drive folder
    directory attachment guest passenger subscriber member order reservation booking home birthday path
    """
)
PUBLIC_DATA = listed(
    """
    weather forecast news web internet public wiki wikipedia encyclopedia holiday timezone exchange
    currency dictionary map restaurant hotel flight train movie recipe trending catalog catalogue
    attraction museum website webpage stock product
    """
)
