-- Returns when the photo counts as uploaded, whether it was ever accused, and which hashes it put into the bands, each
-- with how many photos have it; or nothing when the photo is not, or no longer, one of its listing's.
local listing, sha, seller, hash, scored = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local revision, generation, shown, at = tonumber(ARGV[7]), tonumber(ARGV[8]), ARGV[9], ARGV[10]
local trimmed, of_text, most, looks = ARGV[11], ARGV[12], tonumber(ARGV[13]), ARGV[14]
local epoch = ARGV[15]
if epoch ~= '' and redis.call('GET', prefix .. 'epoch') ~= epoch then
    return redis.error_reply('REPLACED this is another bank')
end
local known = redis.call('HMGET', prefix .. 'listing:' .. listing, 'removed', 'revision', 'seller')
if known[1] or (known[3] and known[3] ~= seller) then return false end
local waiting = ''
if known[2] and tonumber(known[2]) >= revision
    and redis.call('SISMEMBER', prefix .. 'current:' .. listing, sha) == 0 then
    if tonumber(known[2]) > revision then return false end
    waiting = '1'  -- another change of this revision may have it, and hold
end
redis.call('HSETNX', prefix .. 'listing:' .. listing, 'seller', seller)

local put = {}
local function enter(one, place)
    local key = prefix .. 'in-order:' .. one
    local is_known = redis.call('EXISTS', key) == 1
    redis.call('ZADD', key, 0, place)
    if is_known and redis.call('SREM', prefix .. 'left-out', one) == 0 then return end
    put[#put + 1] = one
    put[#put + 1] = redis.call('ZCARD', key)
    local bytes = raw(one)
    for band = 0, 15 do
        local field, held = held_in(band, bytes)
        if #held < most * 32 then redis.call('HSET', hashes, field, held .. bytes) end
    end
    -- Redis searches a small hash from end to end, unless something in it is long.
    redis.call('HSETNX', hashes, 'long', string.rep('-', 500))
end

local name = sha .. '/' .. listing
local key = prefix .. 'photo:' .. name
local old = redis.call('HMGET', key,
    'hash', 'revision', 'generation', 'uploaded', 'at', 'trimmed', 'shown', 'follows', 'blocked')
if old[1] then
    local its = old[7] or old[4]
    if tonumber(its) < tonumber(shown) then shown = its end
    if tonumber(old[5]) > tonumber(at) then at = old[5] end
end
-- It counts as of when its seller first showed this very look, though that be gone.
local uploaded, blocked = shown, ''
if old[1] and tonumber(old[4]) < tonumber(uploaded) then uploaded = old[4] end
for from = 1, #looks, 64 do
    local first = redis.call('ZSCORE', prefix .. 'first:' .. string.sub(looks, from, from + 63), seller)
    if first and tonumber(first) < tonumber(uploaded) then uploaded = string.format('%.0f', tonumber(first)) end
end
if old[1] then
    local is_older = tonumber(old[2]) > revision
        or (tonumber(old[2]) == revision and tonumber(old[3]) > generation)
    -- Of whom it followed when it counted as later, nothing follows now.
    if tonumber(uploaded) < tonumber(old[4]) then redis.call('HDEL', key, 'follows', 'followed') end
    blocked = old[9] or ''
    if is_older or (old[1] == hash and (old[6] or '') == trimmed) then
        for _, one in ipairs(hashes_of(old[1], old[6])) do
            move(one, place_of(old[4], name, blocked), place_of(uploaded, name, blocked))
        end
    else
        drop(name)
        blocked = ''
    end
    if is_older then
        redis.call('HSET', key, 'uploaded', uploaded, 'shown', shown, 'at', at)
        return {uploaded, old[8] or '', put}
    end
end
redis.call('HSET', key, 'hash', hash, 'trimmed', trimmed, 'of_text', of_text, 'seller', seller, 'scored', scored,
    'revision', ARGV[7], 'generation', ARGV[8], 'uploaded', uploaded, 'shown', shown, 'at', at)
if waiting ~= '' then redis.call('HSET', key, 'waiting', '1') else redis.call('HDEL', key, 'waiting') end
redis.call('SADD', prefix .. 'photos:' .. listing, sha)
for _, one in ipairs(hashes_of(hash, trimmed)) do enter(one, place_of(uploaded, name, blocked)) end
return {uploaded, old[8] or '', put}
