"""What nouns say of an argument: its role and its kind. General English and API words only."""

from __future__ import annotations

from agentguard.core import Argument, Role
from agentguard.registry._tool_words import listed


def _entries(role: Role, kinds: dict[str, str]) -> dict[str, Argument]:
    return {word: Argument(role, kind) for kind, text in kinds.items() for word in text.split()}


# INVARIANT: no tool, product or suite is named here.
NOUNS: dict[str, Argument] = {
    **_entries(
        Role.TARGET,
        {
            "recipient": """to recipient receiver cc bcc email mail mailto addressee phone mobile telephone msisdn
                attendee participant invitee guest passenger traveler traveller member contact assignee
                reviewer user username people person group channel audience subscriber follower friend team
                owner collaborator chatroom chat conversation whom buddy colleague employee approver
                supervisor delegate caller callee candidate counterparty""",
            "account": """account acct iban bic swift wallet card beneficiary payee payer creditor debtor routing bank
                acc""",
            "url": "url uri link href endpoint webhook callback website webpage feed site redirect",
            "host": "port host hostname server ip ipv4 ipv6 domain fqdn node machine subnet cidr",
            "path": """path file filename filepath dir directory folder dest destination src cwd workdir attachment
                pathname mount archive""",
            "id": """id uuid guid uid pid sku isbn slug handle sha commit ticket issue pr ref reference
                identifier urn oid ean upc vin iccid imei asin pk rowid mrn hash""",
            "name": """repo repository branch project bucket table database db schema namespace deployment service
                product item hotel restaurant flight event calendar task board playlist album device room
                environment organization organisation org workspace company customer client patient doctor
                job pipeline cluster queue index collection container image instance volume pod release
                symbol ticker coin airline airport station train bus car vehicle driver courier store shop
                vendor supplier merchant course student lesson subscription order booking reservation
                appointment invoice payment transaction bill contract document doc spreadsheet sheet
                worksheet form survey meeting campaign lead deal opportunity article post thread song track
                artist movie thermostat light lamp camera sensor scene lock door appliance zone policy rule
                role permission entity object resource target asset stock security fund metric program
                loyalty origin departure arrival pickup dropoff dose medication drug prescription function
                method module package library plugin app application ward bed incident alert monitor
                dashboard runbook tenant partition keyspace stack parcel shipment warehouse shelf bin cart""",
            "command": "command cmd script sql argv args statement program shell expression stdin",
        },
    ),
    **_entries(
        Role.PAYLOAD,
        {
            "text": """entry coupon voucher body subject content contents message msg text description desc comment
                note title summary caption bio html markdown prompt question answer reply reason details
                detail memo remark instruction feedback review headline snippet greeting query keyword term
                phrase search q signature explanation justification abstract paragraph sentence story
                transcript agenda heading line about word symptom diagnosis finding objective goal
                requirement special preference allergy complaint narration purpose readme changelog excerpt
                cell value data payload input json xml csv patch diff formula template metadata property
                attribute blob nickname alias bullet rationale resolution interest topic position emoji
                reaction pattern seat header sticker street changes change row update updates""",
            "amount": """star amount price quantity qty total cost fee rate budget balance share money sum discount
                tip percent percentage salary bid stake credit dollar euro usd eur cent dosage fare deposit
                points weight rating score replica""",
            "date": """date time datetime timestamp deadline day month year hour minute when birthday dob expiry
                expiration eta start end until since checkin checkout due begin finish moment schedule week
                night""",
            "secret": """password passwd passcode secret apikey otp pin cvv cvc passphrase credential pwd""",
            "name": "firstname lastname surname fullname forename",
        },
    ),
    **_entries(
        Role.CONTROL,
        {
            "": """limit page offset cursor sort format filter field include exclude max min count size verbose
                timeout language lang locale timezone tz unit currency mode type kind status state priority
                visibility color colour flag recursive force encoding version direction radius duration
                frequency recurrence repeat depth width height temperature seed model stream top threshold
                level sortby orderby groupby ascending descending strict dry confirm option setting style
                theme preset quality precision tolerance retry retries interval delay scale speed brightness
                maximum minimum number num range window skip take per after before position ordering expand
                fuzzy case exact flavor charset tone severity category genre cuisine party adult child stop
                class cabin reminder notify industry specialty stage step region column aggregation
                granularity period ttl backoff method http verb""",
        },
    ),
}  # fmt: skip

# Two neighbouring words that mean more than each alone.
PAIRS: dict[str, Argument] = {
    **_entries(
        Role.TARGET,
        {
            "recipient": """email_address mail_address phone_number reply_to send_to shipping_address billing_address
                delivery_address street_address postal_address home_address address_to mailing_address mobile_number
                share_with invite_to channel_id_name destination_address""",
            "account": """card_number account_number sort_code routing_number from_account to_account wallet_address
                source_account bank_account tax_id bank_code swift_code""",
            "host": "ip_address host_name server_name domain_name",
            "path": """file_name file_path folder_path output_file input_file source_path destination_path save_path
                file_id working_directory output_path folder_name directory_name save_to""",
            "url": "callback_url base_url web_hook target_url",
            "id": "order_number invoice_number issue_number flight_number pull_number tracking_number ticket_number "
            "case_number confirmation_number pull_request serial_number claim_number policy_number",
            "command": "source_code sql_query command_line query_string_sql shell_command",
        },
    ),
    **_entries(
        Role.PAYLOAD,
        {
            "text": """file_content file_contents message_text reply_text search_query search_term email_body email_subject
                user_input special_request commit_message display_name event_title new_content new_text
                new_body new_title subject_line page_content custom_message cover_letter alt_text mail_body
                field_value new_value""",
            "secret": """api_key access_token access_key private_key secret_key auth_token security_code
                verification_code one_time card_cvv new_password old_password refresh_token""",
            "date": """start_time end_time start_date end_date due_date due_at check_in check_out date_time
                pickup_time departure_date return_date pickup_date""",
            "amount": "unit_price total_amount share_count guest_count limit_price stop_price",
        },
    ),
    **_entries(
        Role.CONTROL,
        {
            "": """order_by sort_by group_by sort_order page_token next_token page_size per_page page_number max_token
                time_zone dry_run content_type mime_type user_agent idempotency_key correlation_id trace_id
                client_token top_k top_p country_code language_code currency_code num_results continuation_token
                room_type device_type response_format file_type file_format output_format event_type
                account_type card_type time_range date_range order_type time_in in_force trip_type travel_class
                payment_method shipping_method etag_match if_match sync_token""",
        },
    ),
}  # fmt: skip

# Words that say little alone: the word before them tells what they are.
WEAK = listed(
    """
    name number code key address line list string value data text type info item object new set
    """
)
NUMBERED = {
    "phone": "recipient",
    "mobile": "recipient",
    "card": "account",
    "account": "account",
    "routing": "account",
}
# Before a noun: how many or how far, never which.
BOUNDS = listed(
    """
    max min maximum minimum num number count total top per no n
    """
)
FLAGS = listed(
    """
    is has include exclude with should enable allow show hide use only skip require want needs dry can
    """
)
TITLES = frozenset(["name", "title", "label", "subject", "heading", "displayname"])
MAIL = frozenset(["email", "mail", "cc", "bcc", "mailto"])
SHELL = frozenset(["command", "cmd", "shell", "bash", "terminal"])
SQL = frozenset(["sql"])
PROGRAM = frozenset(["code", "script", "program", "expression", "snippet"])
PLACES = listed(
    """
    location city place venue country town area district street zip postcode
    """
)
TRAVEL = listed(
    """
    from to origin destination departure arrival pickup dropoff
    """
)
# Beginnings of descriptions that name a target whatever the argument is called.
TARGET_PHRASES: tuple[tuple[tuple[str, ...], str], ...] = (
    (("email", "address"), "recipient"),
    (("e", "mail", "address"), "recipient"),
    (("phone", "number"), "recipient"),
    (("recipient",), "recipient"),
    (("iban",), "account"),
    (("account", "number"), "account"),
    (("url",), "url"),
    (("path", "to"), "path"),
    (("path", "of"), "path"),
    (("file", "path"), "path"),
    (("host", "name"), "host"),
    (("hostname",), "host"),
    (("ip", "address"), "host"),
    (("id", "of"), "id"),
    (("identifier", "of"), "id"),
)
